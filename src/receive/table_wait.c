/*
 * table_wait.c
 *		Has a table wait at whose rows a link fails for too long.
 *
 * A table that does not exist here, has other columns or types, or code that fails or takes too long, would stop its link, and so everything that comes behind its rows:
 * the owner of one table could hold up all others. So after replication_plugin.table_patience its changes are kept on this node (apply/keep.c), and applied
 * when that is possible (control/kept.c). Whose table is waiting already is not given that time again. Who keeps a lock for long is dealt with in
 * control/wait_watch.c.
 *
 * Only tables of roles that are no superusers: a superuser's mistake stops the link, as it always did, so that nobody sees a part of a transaction. The extension's own
 * tables never wait. Nor does any while this node joins: it takes what its source has decided.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
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
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/peer.h"
#include "base/session.h"
#include "base/settings.h"
#include "catalog/link_status.h"
#include "catalog/names.h"
#include "catalog/origin_map.h"
#include "catalog/table_info.h"
#include "receive/table_wait.h"

/*
 * Owner of the table on the provider, where it does not exist here; NULL if it is a superuser, or is not known. By its number there, as it may have got another name
 * since. Of a change that another node has kept there is no number.
 */
static char *
owner_there(Link *link, const LostTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	const char *params[3] = {table->nspname, table->relname, psprintf("%u", table->remote_relid)};
	PGconn	   *volatile conn = NULL;
	char	   *volatile owner = NULL;

	PG_TRY();
	{
		PGresult   *res;

		conn = peer_connect(link->provider_dsn, PEER_SQL, "replication_plugin table");
		res = peer_exec_params(conn, "SELECT r.rolname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner"
							   " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
							   " WHERE (c.oid = $3::pg_catalog.oid OR $3 = '0' AND n.nspname = $1 AND c.relname = $2) AND NOT r.rolsuper", 3, params);
		owner = PQntuples(res) > 0 ? pstrdup(PQgetvalue(res, 0, 0)) : NULL;
		PQclear(res);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	if (conn)
		PQfinish(conn);
	return owner;
}

/* True if rows can be written to a relation: it is a table, no part of which is on another server. */
static bool
is_usable(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	return kind == RELKIND_RELATION || (kind == RELKIND_PARTITIONED_TABLE && table_foreign_partition(relid) == NULL);
}

/* Owner of the table here, in a transaction; NULL if it is a superuser. *exists: there is a table to which rows can be written. */
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
 * Has the table wait. Returns false if it cannot. Updates of it that are made here from now on may be of another row than their receivers
 * think, as this node's frontier covers what is kept: so they are marked (catalog/awaited.h), as long as it waits.
 */
static bool
have_wait(Link *link, const LostTable *table, const char *owner, const char *reason)
{
	const char *values[5] = {table->nspname, table->relname, owner, reason, link->provider_name ? link->provider_name : ""};
	MemoryContext context = CurrentMemoryContext;
	bool		waits;

	origin_map_ensure_loaded();
	begin();
	waits = run("SELECT 1 WHERE " EXTENSION_SCHEMA ".have_table_wait($1, $2, $3, $4, $5)", 5, values, InvalidRepOriginId) > 0;
	if (waits)
		run("INSERT INTO " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " SELECT w.schema_name, w.table_name, l.node_id, '0/0', l.node_id, l.node_id || ':FFFFFFFF/FFFFFFFF:-'"
			" FROM " EXTENSION_SCHEMA "." TABLE_WAITING_TABLE " w, " EXTENSION_SCHEMA "." TABLE_LOCAL_NODE " l WHERE w.schema_name = $1 AND w.table_name = $2 AND w.kept"
			" AND NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " a WHERE a.schema_name = $1 AND a.table_name = $2 AND a.origin_lsn = '0/0')", 2, values, origin_map_origin(ORIGIN_NODE_REPAIR));
	FAULT_POINT("table_wait_begins");
	commit(context);
	FAULT_POINT("table_wait_begun");
	if (waits)
		ereport(WARNING,
				(errmsg("changes of table %s that come from node \"%s\" wait from here on, so that others go on: %s",
						quote_qualified_identifier(table->nspname, table->relname), values[4], reason),
				 errhint("They are applied when the reason is gone: see the view waiting_tables.")));
	return waits;
}

/* Whose rows have failed; also where that was at the end of the transaction. */
static bool
failed_table(LostTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	bool		result;

	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	result = apply_failed_table(table);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

bool
table_waits(Link *link, const ErrorData *edata, const WireBegin *transaction, bool passing)
{
	LostTable	table;
	Moment		since;
	bool		exists;
	char	   *owner;
	char	   *reason;

	if (link->joining || setting_table_patience == 0 || !failed_table(&table) || strcmp(table.nspname, EXTENSION_SCHEMA) == 0)
		return false;
	since = link_status_trouble(link->index, transaction->origin, transaction->origin_lsn);
	owner = owner_here(&table, &exists);
	if (!exists)
		owner = owner_there(link, &table);
	if (!owner || !(edata->sqlerrcode == ERRCODE_TABLE_TOO_SLOW || moment_is_past(since, setting_table_patience) || (!passing && has_others_waiting(owner))))
		return false;
	reason = psprintf("%s%s%s", edata->message, edata->detail ? " DETAIL: " : "", edata->detail ? edata->detail : "");
	return have_wait(link, &table, owner, reason);
}

void
table_wait_note_end(Link *link)
{
	LostTable	table;

	/* at a row: there is no transaction to look further in */
	if (apply_failed_row_table(&table) && strcmp(table.nspname, EXTENSION_SCHEMA) != 0)
		link_status_set_ended_at(link->index, table.nspname, table.relname);
}

void
table_wait_after_end(Link *link)
{
	LostTable	table = {0};
	char		nspname[NAMEDATALEN];
	char		relname[NAMEDATALEN];
	bool		exists;
	char	   *owner;

	if (!link_status_take_ended_at(link->index, nspname, relname) || setting_table_patience == 0)
		return;
	table.nspname = nspname;
	table.relname = relname;
	owner = owner_here(&table, &exists);
	if (owner)
		(void) have_wait(link, &table, owner, psprintf("a row took longer than replication_plugin.row_timeout (%d ms), and its code did not let itself be cancelled",
												setting_row_timeout));
}
