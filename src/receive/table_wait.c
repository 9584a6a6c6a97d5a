/*
 * table_wait.c
 *		Lets a table wait when its rows hold up a link for too long.
 *
 * A link would stop, with everything behind the failing row, at a table that does not exist on this
 * node, has other columns or types, or runs code that fails or takes too long: the owner of one
 * table could hold up all others. Therefore, after replication_plugin.table_patience, the table
 * waits: its changes are kept on this node (apply/keep.c) and applied when that is possible
 * (control/waiting/kept.c). An owner one of whose tables waits already is not given that time
 * again. Sessions that keep a lock for long are the subject of control/links/wait_watch.c. A
 * prepared transaction cannot be ended, so a table that it has locked waits as well.
 *
 * Each table that begins to wait costs a new try of the transaction. From the third such table of a
 * transaction on, the link worker reads the transaction through once (apply/scout.c), and the
 * remaining tables that would fail begin to wait together. So a transaction costs a few tries and
 * one query to the provider, however many tables it writes to. The correctness of waiting does not
 * depend on this: a transaction of its own writes each entry before the try in which changes are
 * kept, and no entry is removed before that try has committed (may_end_waiting()).
 *
 * Only tables of roles that are not superusers wait. A superuser's mistake stops the link, so that
 * no session sees a part of a transaction. The extension's own tables never wait. No table waits
 * while this node joins: a joining node takes what its source has decided.
 */
#include "postgres.h"

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
#include "utils/syscache.h"
#include "catalog/pg_class.h"

#include "apply/apply.h"
#include "base/compat.h"
#include "base/cut_text.h"
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/peer.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/text_array.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "catalog/waiting_table.h"
#include "receive/asked.h"
#include "receive/reply.h"
#include "receive/table_wait.h"
#include "shared/link_status.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

/* failing tables of a transaction that are handled one by one before the rest are searched for */
#define MOST_ONE_BY_ONE	3
#define MOST_NAMED		20		/* tables named in a message */
#define LATELY			10		/* multiple of table_patience */

/* Owner of a table that does not exist on this node and that the provider no longer has. */
#define OWNER_UNKNOWN	"(unknown)"

static const char waiting_of_owner_sql[] =
	"SELECT 1 FROM " EXTENSION_SCHEMA ".waiting_table w WHERE w.owner = $1 LIMIT 1";
static const char have_wait_sql[] =
	"SELECT 1 FROM ROWS FROM (unnest($1::text[]), unnest($2::text[]), unnest($3::text[]),"
	" unnest($4::text[])) t (s, n, o, r)"
	" WHERE " EXTENSION_SCHEMA ".have_table_wait(t.s, t.n, t.o, t.r, $5)";
static const char wait_for_transaction_sql[] =
	"UPDATE " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w SET for_origin = $3::integer,"
	" for_lsn = $4::pg_lsn FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) t (s, n)"
	" WHERE w.schema_name = t.s AND w.table_name = t.n AND w.for_origin IS NULL";
static const char await_state_sql[] =
	"INSERT INTO " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " SELECT w.schema_name, w.table_name,"
	" l.node_id, '0/0', l.node_id, l.node_id || ':FFFFFFFF/FFFFFFFF:-'"
	" FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) t (s, n)"
	" JOIN " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w ON w.schema_name = t.s"
	" AND w.table_name = t.n AND w.kept, " EXTENSION_SCHEMA "." TABLE_LOCAL_NODE " l"
	" WHERE NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " a WHERE"
	" a.schema_name = w.schema_name AND a.table_name = w.table_name AND a.origin_lsn = '0/0')";
static const char prepared_writers_sql[] =
	"SELECT 1 WHERE " EXTENSION_SCHEMA ".prepared_writers(to_regclass(format('%I.%I', $1, $2)),"
	" clock_timestamp() - current_setting('replication_plugin.lock_patience')::interval) IS NOT"
	" NULL";

/* A table that is about to wait. */
typedef struct Waiter
{
	LostTable	table;
	bool		exists;			/* here */
	char	   *owner;			/* NULL: a superuser, or not known */
	const char *reason;
} Waiter;

/*
 * Sets arrays[0..2] to text arrays that describe the tables: schema names, table names, and OIDs on
 * the provider (0 if not known).
 */
static void
arrays_of(List *waiters, const char **arrays)
{
	int			n = list_length(waiters);
	const char **schemas = palloc(n * sizeof(char *));
	const char **names = palloc(n * sizeof(char *));
	const char **oids = palloc(n * sizeof(char *));
	ListCell   *lc;

	foreach(lc, waiters)
	{
		Waiter	   *w = lfirst(lc);
		int			i = foreach_current_index(lc);

		schemas[i] = w->table.nspname;
		names[i] = w->table.relname;
		oids[i] =
			psprintf("%u", w->table.remote_node == INVALID_NODE_ID ? w->table.remote_relid : 0);
	}
	arrays[0] = text_array(schemas, n);
	arrays[1] = text_array(names, n);
	arrays[2] = text_array(oids, n);
}

/*
 * Query to the provider: the owners of tables, looked up by OID or by name. The owner is an empty
 * string for a superuser, and NULL if there is no such table.
 */
#define OWNERS	"SELECT CASE WHEN r.rolsuper THEN '' ELSE r.rolname END" \
	" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.oid[])) WITH ORDINALITY t (s, n, id, i)" \
	" LEFT JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN t.id <> 0 THEN t.id ELSE (SELECT x.oid FROM pg_catalog.pg_class x" \
	" JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace WHERE m.nspname = t.s AND x.relname = t.n) END" \
	" LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.relowner ORDER BY t.i"

/*
 * Query to the provider: the owners, none of them a superuser, of tables whose changes it keeps
 * itself.
 */
#define OWNERS_OF_KEPT	"SELECT w.owner" \
	" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) WITH ORDINALITY t (s, n, i)" \
	" LEFT JOIN " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w ON w.schema_name = t.s AND w.table_name = t.n ORDER BY t.i"

/*
 * Runs an owner query on the provider and fills in the owners that are not known yet. Returns false
 * if some owners are still unknown.
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
 * Fills in the owners, on the provider, of tables that do not exist on this node. The owner becomes
 * NULL if it is a superuser or if the provider cannot be asked.
 *
 * Tables are looked up by their OIDs on the provider, since they may have been renamed. A change
 * that another node has kept carries no OID of the provider. The provider may not have that table
 * either, but its waiting_table has the owner. A table that no longer exists there has no known
 * owner, and no superuser owns it: its owner becomes OWNER_UNKNOWN.
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
		PGconn	   *conn = asked_connect(&link->asked, link->provider_dsn);

		if (!ask_owners(conn, OWNERS, 3, arrays, waiters))
			(void) ask_owners(conn, OWNERS_OF_KEPT, 2, arrays, waiters);
		answered = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		asked_give_up(&link->asked, link->provider_dsn);
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
 * Returns true if rows can be written to a relation: it is a table, no partition of which is
 * foreign.
 */
static bool
is_usable(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	return kind == RELKIND_RELATION ||
		   (kind == RELKIND_PARTITIONED_TABLE && table_foreign_partition(relid) == NULL);
}

/*
 * Returns the name of the table's owner on this node, palloc'd in the caller's context, or NULL if
 * the owner is a superuser or there is no table. Sets *exists to whether there is a table to which
 * rows can be written. Runs in a transaction of its own.
 */
static char *
owner_here(const LostTable *table, bool *exists)
{
	OwnTransaction t = own_transaction_begin();
	char	   *owner = NULL;
	Oid			nspoid = get_namespace_oid(table->nspname, true);
	HeapTuple	tuple;

	tuple = OidIsValid(nspoid) ? SearchSysCache2(RELNAMENSP, CStringGetDatum(table->relname),
												 ObjectIdGetDatum(nspoid))
							   : NULL;
	*exists = HeapTupleIsValid(tuple) && is_usable(((Form_pg_class) GETSTRUCT(tuple))->oid);
	if (HeapTupleIsValid(tuple))
	{
		Oid			roleid = ((Form_pg_class) GETSTRUCT(tuple))->relowner;

		if (!superuser_arg(roleid))
			owner = MemoryContextStrdup(t.context, GetUserNameFromId(roleid, false));
		ReleaseSysCache(tuple);
	}
	own_transaction_end(&t);
	return owner;
}

/* Runs a statement with text parameters under a replication origin. Returns the number of rows. */
static uint64
table_wait_run(const char *sql, int n, const char *const *values, RepOriginId origin)
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
	origin_mark(origin);
	if (SPI_execute_with_args(sql, n, types, args, NULL, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	origin_unmark();
	processed = SPI_processed;
	session_sql_end(nest);
	return processed;
}

/* Returns true if a table of the owner waits already. Runs in a transaction of its own. */
static bool
has_others_waiting(const char *owner)
{
	const char *values[1] = {owner};
	OwnTransaction t = own_transaction_begin_sql();
	bool		result;

	result = table_wait_run(waiting_of_owner_sql, 1, values, InvalidRepOriginId) > 0;
	own_transaction_end(&t);
	return result;
}

/*
 * Notes that a table of the owner has begun to wait. If there is no free entry, the owner whose
 * last table began to wait the longest time ago is forgotten.
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
 * Returns true if a table of the owner has begun to wait recently. The owner may have ended the
 * waiting only to hold up the link again.
 */
static bool
has_waited_lately(const Link *link, const char *owner)
{
	for (int i = 0; i < LINK_WAITED_OWNERS; i++)
	{
		if (strcmp(link->waited[i].owner, owner) == 0)
			return !moment_is_past(link->waited[i].at,
								   LATELY * Min(setting_table_patience, INT_MAX / LATELY));
	}
	return false;
}

/*
 * Returns true if a table of the owner has held up the link for long enough. An owner who has
 * another table that waits, or had one recently, is given no time, or only a small part of
 * table_patience for an error that is expected to pass. An unknown owner always gets the whole
 * time.
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

/* Reports in the log that tables wait from now on. */
static void
table_wait_tell(Link *link, List *waiters)
{
	StringInfoData names;
	ListCell   *lc;

	initStringInfo(&names);
	foreach(lc, waiters)
	{
		Waiter	   *w = lfirst(lc);

		if (foreach_current_index(lc) < MOST_NAMED)
			appendStringInfo(&names, "%s%s", names.len ? ", " : "",
							 quote_qualified_identifier(w->table.nspname, w->table.relname));
	}
	if (list_length(waiters) > MOST_NAMED)
		appendStringInfo(&names, " and %d more", list_length(waiters) - MOST_NAMED);
	ereport(WARNING,
			(errmsg("changes of table %s that come from node \"%s\" wait from here on, so that others go on: %s",
					names.data, link->provider_name ? link->provider_name : "", ((Waiter *) linitial(waiters))->reason),
			 errhint("They are applied when the reason is gone: see the view waiting_tables.")));
}

/*
 * Makes tables wait for a transaction, in one transaction. Returns false if not all of them can
 * wait.
 *
 * None of them ends waiting before this node has applied the transaction (may_end_waiting()), since
 * it would fail again otherwise. As long as they wait, local updates of them are marked
 * (catalog/awaited.h): this node's frontier covers the kept changes, so such an update may be based
 * on another row than its receivers assume.
 */
static bool
have_wait(Link *link, const WireBegin *transaction, List *waiters)
{
	OwnTransaction t;
	const char *values[5];
	const char *progress[4];
	const char **owners = palloc(list_length(waiters) * sizeof(char *));
	const char **reasons = palloc(list_length(waiters) * sizeof(char *));
	uint64		n;
	ListCell   *lc;

	foreach(lc, waiters)
	{
		owners[foreach_current_index(lc)] = ((Waiter *) lfirst(lc))->owner;
		reasons[foreach_current_index(lc)] = ((Waiter *) lfirst(lc))->reason;
	}
	arrays_of(waiters, values);
	values[2] = text_array(owners, list_length(waiters));
	values[3] = text_array(reasons, list_length(waiters));
	values[4] = link->provider_name ? link->provider_name : "";
	origin_map_ensure_loaded();
	t = own_transaction_begin_sql();
	n = table_wait_run(have_wait_sql, 5, values, InvalidRepOriginId);
	progress[0] = values[0];
	progress[1] = values[1];
	progress[2] = psprintf("%d", transaction->origin);
	progress[3] = psprintf("%X/%X", LSN_FORMAT_ARGS(transaction->origin_lsn));
	if (n > 0)
	{
		table_wait_run(wait_for_transaction_sql, 4, progress, InvalidRepOriginId);
		table_wait_run(await_state_sql, 2, values, origin_map_origin(ORIGIN_NODE_REPAIR));
	}
	FAULT_POINT("table_wait_begins");
	own_transaction_end(&t);
	FAULT_POINT("table_wait_begun");
	foreach(lc, waiters)
		note_waited(link, ((Waiter *) lfirst(lc))->owner);
	if (n > 0)
		table_wait_tell(link, waiters);
	return n == list_length(waiters);
}

/*
 * Sets *table to the table at whose row the transaction failed. Returns false if there is none.
 * Runs in a transaction of its own.
 */
static bool
failed_table(Link *link, LostTable *table)
{
	OwnTransaction t = own_transaction_begin();
	bool		result;

	MemoryContextSwitchTo(t.context);
	result = apply_failed_table(link->apply, table);
	own_transaction_end(&t);
	return result;
}

/*
 * Notes that one more table of the transaction could not be applied. After MOST_ONE_BY_ONE tables,
 * the next try only reads the transaction, to find the rest of them.
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

/* Returns true if the transaction has waited for a lock until lock_patience was over. */
static bool
waited_for_lock(Link *link, const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && setting_lock_patience > 0 &&
		   moment_is_past(apply_began(link->apply), setting_lock_patience);
}

/*
 * Returns true if a lock is not available because a transaction that was prepared longer ago than
 * lock_patience has written to the table. The link does not wait for such a transaction again.
 */
static bool
is_prepared(const ErrorData *edata, const LostTable *table)
{
	const char *values[2] = {table->nspname, table->relname};
	OwnTransaction t;
	bool		result;

	if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE || setting_lock_patience == 0)
		return false;
	t = own_transaction_begin_sql();
	result = table_wait_run(prepared_writers_sql, 2, values, InvalidRepOriginId) > 0;
	own_transaction_end(&t);
	return result;
}

/* Returns true if a table neither waits nor is excluded. Runs in a transaction of its own. */
static bool
is_to_wait(const LostTable *table)
{
	OwnTransaction t = own_transaction_begin();
	bool		result;

	result = waiting_table(table->nspname, table->relname) == NULL &&
			 exclusion_reason(table->nspname, table->relname) == NULL;
	own_transaction_end(&t);
	return result;
}

/*
 * Returns false if the table waits already and the transaction has failed at it for the second
 * time: the cause is then something else, and trying again would never end. One failure is allowed,
 * since another link can make the table wait while this link applies the transaction.
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

	/* If the changes cannot be kept either, waiting does not help, and the link stops. */
	if (link->joining || setting_table_patience == 0 || apply_failed_keeping(link->apply) ||
		!failed_table(link, &w.table) || strcmp(w.table.nspname, EXTENSION_SCHEMA) == 0)
		return false;
	since = link_status_trouble(link->index, transaction->origin, transaction->origin_lsn);
	w.owner = owner_here(&w.table, &w.exists);
	if (!w.exists)
		owners_there(link, list_make1(&w));
	prepared = w.exists && w.owner && is_prepared(edata, &w.table);
	if (!w.owner ||
		!(prepared || edata->sqlerrcode == ERRCODE_TABLE_TOO_SLOW || waited_for_lock(link, edata) ||
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
 * Makes those tables of a transaction wait that exist on this node and whose owner is the one whose
 * tables have failed one after the other. Each of them begins to wait separately, since that takes
 * a lock. Returns the tables that do not exist on this node (list of Waiter *), whatever their
 * owner.
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
			w->reason = psprintf("table \"%s.%s\" does not exist on this node", w->table.nspname,
								 w->table.relname);
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
	Moment since = link_status_trouble(link->index, transaction->origin, transaction->origin_lsn);
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

		/*
		 * an owner with another waiting table is given no time, and neither is a table that is gone
		 */
		if (w->owner && (strcmp(w->owner, OWNER_UNKNOWN) == 0 ||
						 patience_is_over(link, since, w->owner, false)))
			waiters = lappend(waiters, w);
	}
	if (waiters != NIL)
		(void) have_wait(link, transaction, waiters);
}

void
table_wait_note_end(Link *link)
{
	LostTable	table;

	/* the worker was ended at a row, so it can no longer look further in a transaction */
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

	if (!link_status_take_ended_at(link->index, nspname, relname) || setting_table_patience == 0 ||
		!link_status_get(link->index, &l))
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
