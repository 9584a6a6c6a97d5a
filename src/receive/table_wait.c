/*
 * table_wait.c
 *		Has a table wait at whose rows a link fails for too long.
 *
 * A table that does not exist here, has other columns or types, or code that fails or takes too
 * long, would stop its link, and so everything that comes behind its rows: the owner of one table
 * could hold up all others. So after replication_plugin.table_patience its changes are kept on this
 * node (apply/keep.c), and applied when that is possible (control/waiting/kept.c). Whose table is
 * waiting already is not given that time again. Who keeps a lock for long is dealt with in
 * control/links/wait_watch.c; a prepared transaction cannot be ended, so its table waits as well.
 *
 * Each table that begins to wait costs a new try of the transaction. So from the third one of a
 * transaction on, that is read through once (apply/scout.c), and what else would fail waits
 * together: a transaction costs a few tries and one query to the provider, however many tables it
 * is of. Nothing new rests on that: each entry is written before the try in which changes are kept,
 * by a transaction of its own, and none goes before that try has committed (may_end_waiting()).
 *
 * Only tables of roles that are no superusers: a superuser's mistake stops the link, as it always
 * did, so that nobody sees a part of a transaction. The extension's own tables never wait. Nor does
 * any while this node joins: it takes what its source has decided.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "catalog/pg_class.h"

#include "apply/apply.h"
#include "base/cut_text.h"
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/peer.h"
#include "base/session.h"
#include "base/settings.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "catalog/waiting_table.h"
#include "receive/asked.h"
#include "receive/reply.h"
#include "receive/table_wait.h"
#include "shared/link_status.h"
#include "shared/origin_map.h"

/* tables of a transaction that fail one after the other, before the rest of them are looked for */
#define MOST_ONE_BY_ONE	3
#define MOST_NAMED		20		/* in a message */
#define LATELY			10		/* times table_patience */

/* A table that does not exist here has this owner if nobody has it on the provider any more. */
#define OWNER_UNKNOWN	"(unknown)"

/* A table that is to wait. */
typedef struct Waiter
{
	LostTable	table;
	bool		exists;			/* here */
	char	   *owner;			/* NULL: a superuser, or nobody could say */
	const char *reason;
} Waiter;

/* Appends one value to an array, as text. */
static void
append_element(StringInfo array, const char *value)
{
	appendStringInfoString(array, array->len > 1 ? ",\"" : "\"");
	for (const char *c = value; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(array, '\\');
		appendStringInfoChar(array, *c);
	}
	appendStringInfoChar(array, '"');
}

/*
 * Arrays of what is known of tables, as text: names of schemas, of tables, and numbers on the
 * provider (0: not known).
 */
static void
arrays_of(List *waiters, const char **arrays)
{
	StringInfoData buf[3];
	ListCell   *lc;

	for (int i = 0; i < 3; i++)
	{
		initStringInfo(&buf[i]);
		appendStringInfoChar(&buf[i], '{');
	}
	foreach(lc, waiters)
	{
		Waiter	   *w = lfirst(lc);

		append_element(&buf[0], w->table.nspname);
		append_element(&buf[1], w->table.relname);
		append_element(&buf[2], psprintf("%u", w->table.remote_node == INVALID_NODE_ID ? w->table.remote_relid : 0));
	}
	for (int i = 0; i < 3; i++)
	{
		appendStringInfoChar(&buf[i], '}');
		arrays[i] = buf[i].data;
	}
}

/*
 * What the provider says of tables by number or name: the owner; empty: a superuser; null: there is
 * none.
 */
#define OWNERS	"SELECT CASE WHEN r.rolsuper THEN '' ELSE r.rolname END" \
	" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.oid[])) WITH ORDINALITY t (s, n, id, i)" \
	" LEFT JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN t.id <> 0 THEN t.id ELSE (SELECT x.oid FROM pg_catalog.pg_class x" \
	" JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace WHERE m.nspname = t.s AND x.relname = t.n) END" \
	" LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.relowner ORDER BY t.i"

/* Tables whose changes it keeps itself have an owner that is no superuser. */
#define OWNERS_OF_KEPT	"SELECT w.owner" \
	" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) WITH ORDINALITY t (s, n, i)" \
	" LEFT JOIN " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w ON w.schema_name = t.s AND w.table_name = t.n ORDER BY t.i"

/*
 * Asks the provider; notes owners of those whose owner is not known. Returns false if some still
 * are not.
 */
static bool
ask_owners(PGconn *conn, const char *sql, int n, const char *const *arrays, List *waiters)
{
	PGresult   *res = peer_exec_params(conn, sql, n, arrays);
	bool		all = true;
	ListCell   *lc;
	int			row = 0;

	foreach(lc, waiters)
	{
		Waiter	   *w = lfirst(lc);

		if (!w->owner && row < PQntuples(res) && !PQgetisnull(res, row, 0))
			w->owner = pstrdup(PQgetvalue(res, row, 0));
		all = all && w->owner != NULL;
		row++;
	}
	PQclear(res);
	return all;
}

/*
 * Notes the owners on the provider of tables that do not exist here: NULL if it is a superuser, or
 * the provider cannot be asked. By their numbers there, as they may have got other names since. Of
 * a change that another node has kept there is no number; that node may not have the table either,
 * and knows whose it is. Nobody can say whose a table was that is gone: it is no superuser's any
 * more.
 */
static void
owners_there(Link *link, List *waiters)
{
	MemoryContext context = CurrentMemoryContext;
	const char *arrays[3];
	volatile bool answered = false;
	ListCell   *lc;

	arrays_of(waiters, arrays);
	PG_TRY();
	{
		PGconn	   *conn = asked_connect(link->provider_dsn);

		if (!ask_owners(conn, OWNERS, 3, arrays, waiters))
			(void) ask_owners(conn, OWNERS_OF_KEPT, 2, arrays, waiters);
		answered = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		asked_give_up(link->provider_dsn);
	}
	PG_END_TRY();
	foreach(lc, waiters)
	{
		Waiter	   *w = lfirst(lc);

		if (!w->owner && answered)
			w->owner = OWNER_UNKNOWN;
		else if (w->owner && w->owner[0] == '\0')
			w->owner = NULL;
	}
}

/*
 * True if rows can be written to a relation: it is a table, no part of which is on another server.
 */
static bool
is_usable(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	return kind == RELKIND_RELATION || (kind == RELKIND_PARTITIONED_TABLE && table_foreign_partition(relid) == NULL);
}

/*
 * Owner of the table here, in a transaction; NULL if it is a superuser. *exists: there is a table
 * to which rows can be written.
 */
static char *
owner_here(const LostTable *table, bool *exists)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *owner = NULL;
	Oid			nspoid;
	HeapTuple	tuple;

	StartTransactionCommand();
	nspoid = get_namespace_oid(table->nspname, true);
	tuple = OidIsValid(nspoid) ? SearchSysCache2(RELNAMENSP, CStringGetDatum(table->relname), ObjectIdGetDatum(nspoid)) : NULL;
	*exists = HeapTupleIsValid(tuple) && is_usable(((Form_pg_class) GETSTRUCT(tuple))->oid);
	if (HeapTupleIsValid(tuple))
	{
		Oid			roleid = ((Form_pg_class) GETSTRUCT(tuple))->relowner;

		if (!superuser_arg(roleid))
			owner = MemoryContextStrdup(context, GetUserNameFromId(roleid, false));
		ReleaseSysCache(tuple);
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return owner;
}

/* Runs a statement with text parameters, marked with an origin; returns the number of rows. */
static uint64
run(const char *sql, int n, const char *const *values, RepOriginId origin)
{
	Oid			types[6];
	Datum		args[6];
	uint64		processed;
	int			nest = session_sql_begin();

	for (int i = 0; i < n; i++)
	{
		types[i] = TEXTOID;
		args[i] = CStringGetTextDatum(values[i]);
	}
	replorigin_session_origin = origin;
	if (SPI_execute_with_args(sql, n, types, args, NULL, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	replorigin_session_origin = InvalidRepOriginId;
	processed = SPI_processed;
	session_sql_end(nest);
	return processed;
}

/* A transaction for such statements. */
static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(MemoryContext context)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* True if another table of an owner waits already. */
static bool
has_others_waiting(const char *owner)
{
	const char *values[1] = {owner};
	MemoryContext context = CurrentMemoryContext;
	bool		result;

	begin();
	result = run("SELECT 1 FROM " EXTENSION_SCHEMA ".waiting_table w WHERE w.owner = $1 LIMIT 1", 1, values, InvalidRepOriginId) > 0;
	commit(context);
	return result;
}

/*
 * Notes that a table of an owner has begun to wait; who has not had one for the longest time is
 * forgotten.
 */
static void
note_waited(Link *link, const char *owner)
{
	WaitedOwner *oldest = &link->waited[0];

	for (int i = 0; i < LINK_WAITED_OWNERS; i++)
	{
		WaitedOwner *o = &link->waited[i];

		if (strcmp(o->owner, owner) == 0)
		{
			oldest = o;
			break;
		}
		if (o->at < oldest->at)
			oldest = o;
	}
	strlcpy(oldest->owner, owner, NAMEDATALEN);
	oldest->at = moment_now();
}

/*
 * Returns true if a table of an owner has begun to wait lately: it may have ended waiting only to
 * hold up the link once more.
 */
static bool
has_waited_lately(const Link *link, const char *owner)
{
	for (int i = 0; i < LINK_WAITED_OWNERS; i++)
	{
		if (strcmp(link->waited[i].owner, owner) == 0)
			return !moment_is_past(link->waited[i].at, LATELY * Min(setting_table_patience, INT_MAX / LATELY));
	}
	return false;
}

/*
 * Returns true if a table of an owner has held up the link for long enough. Whoever has, or lately
 * had, another table that waits is given no time; or a small part of it for an error that is
 * expected to pass. Of a table whose owner is unknown nobody is known to mend it.
 */
static bool
patience_is_over(const Link *link, Moment since, const char *owner, bool passing)
{
	bool		again;

	if (moment_is_past(since, setting_table_patience))
		return true;
	if (strcmp(owner, OWNER_UNKNOWN) == 0)
		return false;
	again = has_waited_lately(link, owner) || has_others_waiting(owner);
	return again && (!passing || moment_is_past(since, setting_table_patience / LATELY));
}

/* Tells the log of tables that wait from here on. */
static void
tell(Link *link, List *waiters)
{
	StringInfoData names;
	ListCell   *lc;

	initStringInfo(&names);
	foreach(lc, waiters)
	{
		Waiter	   *w = lfirst(lc);

		if (foreach_current_index(lc) < MOST_NAMED)
			appendStringInfo(&names, "%s%s", names.len ? ", " : "", quote_qualified_identifier(w->table.nspname, w->table.relname));
	}
	if (list_length(waiters) > MOST_NAMED)
		appendStringInfo(&names, " and %d more", list_length(waiters) - MOST_NAMED);
	ereport(WARNING,
			(errmsg("changes of table %s that come from node \"%s\" wait from here on, so that others go on: %s",
					names.data, link->provider_name ? link->provider_name : "", ((Waiter *) linitial(waiters))->reason),
			 errhint("They are applied when the reason is gone: see the view waiting_tables.")));
}

/*
 * Has tables wait for a transaction, in one transaction. Returns false if not all can. None of them
 * ends waiting before this node has that one (may_end_waiting()): else it would fail again. Updates
 * of them that are made here from now on may be of another row than their receivers think, as this
 * node's frontier covers what is kept: so they are marked (catalog/awaited.h), as long as they
 * wait.
 */
static bool
have_wait(Link *link, const WireBegin *transaction, List *waiters)
{
	MemoryContext context = CurrentMemoryContext;
	const char *values[5];
	const char *progress[4];
	StringInfoData owners;
	StringInfoData reasons;
	uint64		n;
	ListCell   *lc;

	initStringInfo(&owners);
	initStringInfo(&reasons);
	appendStringInfoChar(&owners, '{');
	appendStringInfoChar(&reasons, '{');
	foreach(lc, waiters)
	{
		append_element(&owners, ((Waiter *) lfirst(lc))->owner);
		append_element(&reasons, ((Waiter *) lfirst(lc))->reason);
	}
	appendStringInfoChar(&owners, '}');
	appendStringInfoChar(&reasons, '}');
	arrays_of(waiters, values);
	values[2] = owners.data;
	values[3] = reasons.data;
	values[4] = link->provider_name ? link->provider_name : "";
	origin_map_ensure_loaded();
	begin();
	n = run("SELECT 1 FROM ROWS FROM (unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[])) t (s, n, o, r)"
			" WHERE " EXTENSION_SCHEMA ".have_table_wait(t.s, t.n, t.o, t.r, $5)", 5, values, InvalidRepOriginId);
	progress[0] = values[0];
	progress[1] = values[1];
	progress[2] = psprintf("%d", transaction->origin);
	progress[3] = psprintf("%X/%X", LSN_FORMAT_ARGS(transaction->origin_lsn));
	if (n > 0)
	{
		run("UPDATE " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w SET for_origin = $3::integer, for_lsn = $4::pg_lsn FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) t (s, n)"
			" WHERE w.schema_name = t.s AND w.table_name = t.n AND w.for_origin IS NULL", 4, progress, InvalidRepOriginId);
		run("INSERT INTO " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " SELECT w.schema_name, w.table_name, l.node_id, '0/0', l.node_id, l.node_id || ':FFFFFFFF/FFFFFFFF:-'"
			" FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) t (s, n)"
			" JOIN " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w ON w.schema_name = t.s AND w.table_name = t.n AND w.kept, " EXTENSION_SCHEMA "." TABLE_LOCAL_NODE " l"
			" WHERE NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " a WHERE a.schema_name = w.schema_name AND a.table_name = w.table_name AND a.origin_lsn = '0/0')",
			2, values, origin_map_origin(ORIGIN_NODE_REPAIR));
	}
	FAULT_POINT("table_wait_begins");
	commit(context);
	FAULT_POINT("table_wait_begun");
	foreach(lc, waiters)
		note_waited(link, ((Waiter *) lfirst(lc))->owner);
	if (n > 0)
		tell(link, waiters);
	return n == list_length(waiters);
}

/* Whose rows have failed; also where that was at the end of the transaction. */
static bool
failed_table(Link *link, LostTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	bool		result;

	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	result = apply_failed_table(link->apply, table);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

/*
 * Notes that one more table of a transaction could not be applied. From some on the rest of them
 * are found by reading it once, before it is tried again.
 */
static void
note_failed(Link *link, const WireBegin *transaction, const char *owner)
{
	if (link->failing_lsn != transaction->origin_lsn)
		link->failed = 0;
	link->failing_lsn = transaction->origin_lsn;
	link->scouting = ++link->failed >= MOST_ONE_BY_ONE;
	strlcpy(link->failing_owner, owner, NAMEDATALEN);
}

/* True if a lock was waited for until lock_patience was over. */
static bool
waited_for_lock(Link *link, const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && setting_lock_patience > 0 && moment_is_past(apply_began(link->apply), setting_lock_patience);
}

/*
 * True if a lock cannot be had as a transaction that was prepared longer ago than lock_patience has
 * written to the table: nobody waits for that again.
 */
static bool
is_prepared(const ErrorData *edata, const LostTable *table)
{
	const char *values[2] = {table->nspname, table->relname};
	MemoryContext context = CurrentMemoryContext;
	bool		result;

	if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE || setting_lock_patience == 0)
		return false;
	begin();
	result = run("SELECT 1 WHERE " EXTENSION_SCHEMA ".prepared_writers(to_regclass(format('%I.%I', $1, $2)), clock_timestamp() - current_setting('replication_plugin.lock_patience')::interval) IS NOT NULL",
				 2, values, InvalidRepOriginId) > 0;
	commit(context);
	return result;
}

/* True if a table is none of those that wait or are left out (own transaction). */
static bool
is_to_wait(const LostTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	bool		result;

	StartTransactionCommand();
	result = waiting_table(table->nspname, table->relname) == NULL && exclusion_reason(table->nspname, table->relname) == NULL;
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

/*
 * Returns false if a table waits already, and the transaction has failed at it again: what fails
 * then is something else, and would do so for ever. Once it may be, as another link can have it
 * wait while this one applies the transaction.
 */
static bool
is_of_use(Link *link, const WireBegin *transaction, const LostTable *table)
{
	if (is_to_wait(table))
		return true;
	if (link->futile_lsn == transaction->origin_lsn)
		return false;
	link->futile_lsn = transaction->origin_lsn;
	return true;
}

bool
table_waits(Link *link, const ErrorData *edata, const WireBegin *transaction, bool passing)
{
	Waiter		w = {{0}};
	Moment		since;
	bool		prepared;

	/* where its changes cannot be kept either it is no help that it waits: that stops the link */
	if (link->joining || setting_table_patience == 0 || apply_failed_keeping(link->apply) || !failed_table(link, &w.table) || strcmp(w.table.nspname, EXTENSION_SCHEMA) == 0)
		return false;
	since = link_status_trouble(link->index, transaction->origin, transaction->origin_lsn);
	w.owner = owner_here(&w.table, &w.exists);
	if (!w.exists)
		owners_there(link, list_make1(&w));
	prepared = w.exists && w.owner && is_prepared(edata, &w.table);
	if (!w.owner || !(prepared || edata->sqlerrcode == ERRCODE_TABLE_TOO_SLOW || waited_for_lock(link, edata) ||
					 patience_is_over(link, since, w.owner, passing)))
		return false;
	if (!is_of_use(link, transaction, &w.table))
		return false;
	w.reason = cut_error_text(edata);
	if (!have_wait(link, transaction, list_make1(&w)))
		return false;
	if (prepared)
		link_limit_lock_waits(true);
	note_failed(link, transaction, w.exists ? w.owner : "");
	return true;
}

void
table_wait_note_passed_over(Link *link, const WireBegin *transaction)
{
	if (!link->joining && setting_table_patience > 0)
		note_failed(link, transaction, "");
}

/*
 * Sorts tables of a transaction: those that do not exist here, whoever owns them; and those that do
 * and have the owner whose tables could not be applied one after the other, each of which begins to
 * wait by itself, as that needs a lock.
 */
static List *
sort_tables(Link *link, const WireBegin *transaction, List *tables)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *missing = NIL;
	ListCell   *lc;

	foreach(lc, tables)
	{
		Waiter	   *w = palloc0(sizeof(Waiter));

		w->table = *(LostTable *) lfirst(lc);
		if (!is_to_wait(&w->table))
			continue;
		MemoryContextSwitchTo(context);
		w->owner = owner_here(&w->table, &w->exists);
		if (!w->exists)
		{
			w->owner = NULL;
			w->reason = psprintf("table \"%s.%s\" does not exist on this node", w->table.nspname, w->table.relname);
			missing = lappend(missing, w);
		}
		else if (w->owner && strcmp(w->owner, link->failing_owner) == 0)
		{
			w->reason = "other tables of its owner could not be applied, one after the other, in the same transaction";
			(void) have_wait(link, transaction, list_make1(w));
		}
	}
	MemoryContextSwitchTo(context);
	return missing;
}

void
tables_wait(Link *link, const WireBegin *transaction, List *tables)
{
	Moment		since = link_status_trouble(link->index, transaction->origin, transaction->origin_lsn);
	List	   *missing = sort_tables(link, transaction, tables);
	List	   *waiters = NIL;
	ListCell   *lc;

	link->failed = 0;
	link->scouting = false;
	if (missing == NIL)
		return;
	owners_there(link, missing);
	foreach(lc, missing)
	{
		Waiter	   *w = lfirst(lc);

		/* whoever has another table waiting is given no time, nor is what is gone */
		if (w->owner && (strcmp(w->owner, OWNER_UNKNOWN) == 0 || patience_is_over(link, since, w->owner, false)))
			waiters = lappend(waiters, w);
	}
	if (waiters != NIL)
		(void) have_wait(link, transaction, waiters);
}

void
table_wait_note_end(Link *link)
{
	LostTable	table;

	/* at a row: there is no transaction to look further in */
	if (apply_failed_row_table(link->apply, &table) && strcmp(table.nspname, EXTENSION_SCHEMA) != 0)
	{
		(void) link_status_trouble(link->index, table.origin, table.origin_lsn);
		link_status_set_ended_at(link->index, table.nspname, table.relname);
	}
}

void
table_wait_after_end(Link *link)
{
	Waiter		w = {{0}};
	char		nspname[NAMEDATALEN];
	char		relname[NAMEDATALEN];
	LinkStatus	l;
	WireBegin	transaction = {0};

	if (!link_status_take_ended_at(link->index, nspname, relname) || setting_table_patience == 0 || !link_status_get(link->index, &l))
		return;
	transaction.origin = l.trouble_origin;
	transaction.origin_lsn = l.trouble_lsn;
	w.table.nspname = nspname;
	w.table.relname = relname;
	w.owner = owner_here(&w.table, &w.exists);
	w.reason = psprintf("a row took longer than replication_plugin.row_timeout (%d ms), and its code did not let itself be cancelled", setting_row_timeout);
	if (w.owner)
		(void) have_wait(link, &transaction, list_make1(&w));
}
