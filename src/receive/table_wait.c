/*
 * table_wait.c
 *		Has a table wait at whose rows a link fails for too long.
 *
 * A table that does not exist here, has other columns or types, code that fails or takes too long, or is locked for long, would stop its link, and so
 * everything that comes behind its rows: the owner of one table could hold up all others. So after replication_plugin.table_patience, or
 * failing_table_patience where the table exists here, its rows are passed over on this node (catalog/waiting_table.c), and the table is marked out of step for the whole group. What is missing
 * is brought by resend_table() when the reason has been mended. Whose table is waiting already is not given that time again.
 *
 * The second is off by default: passing rows over makes a table differ that was the same on all nodes, and giving it anew costs as much as it is large.
 *
 * Only tables of roles that are no superusers: a superuser's mistake stops the link, as it always did, and loses nothing. The extension's own tables
 * never wait, nor does any while this node is joining.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "catalog/pg_class.h"

#include "apply/apply.h"
#include "base/moment.h"
#include "base/peer.h"
#include "base/session.h"
#include "base/settings.h"
#include "catalog/link_status.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "receive/table_wait.h"

/* Owner of the table on the provider, where it does not exist here; NULL if it is a superuser, or is not known. */
static char *
owner_there(Link *link, const LostTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	const char *params[1] = {psprintf("%u", table->remote_relid)};
	PGconn	   *volatile conn = NULL;
	char	   *volatile owner = NULL;

	PG_TRY();
	{
		PGresult   *res;

		conn = peer_connect(link->provider_dsn, PEER_SQL, "replication_plugin table");
		res = peer_exec_params(conn, "SELECT r.rolname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner"
							   " WHERE c.oid = $1::pg_catalog.oid AND NOT r.rolsuper", 1, params);
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

/* Runs a statement with text parameters in a transaction of its own; returns the number of rows. */
static uint64
run(const char *sql, int n, const char *const *values)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[6];
	Datum		args[6];
	uint64		processed;
	int			nest;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	nest = session_sql_begin();
	for (int i = 0; i < n; i++)
	{
		types[i] = TEXTOID;
		args[i] = CStringGetTextDatum(values[i]);
	}
	if (SPI_execute_with_args(sql, n, types, args, NULL, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	processed = SPI_processed;
	session_sql_end(nest);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return processed;
}

/* True if another table of an owner waits already. */
static bool
has_others_waiting(const char *owner)
{
	const char *values[1] = {owner};

	return run("SELECT 1 FROM replication_plugin.waiting_table w WHERE w.owner = $1 LIMIT 1", 1, values) > 0;
}

/* Has the table wait. Returns false if it does not: on a node that is not ready. */
static bool
have_wait(Link *link, const LostTable *table, const char *owner, const char *reason)
{
	const char *values[5] = {table->nspname, table->relname, owner, reason, link->provider_name ? link->provider_name : ""};

	if (run("SELECT 1 WHERE replication_plugin.have_table_wait($1, $2, $3, $4, $5)", 5, values) == 0)
		return false;
	ereport(WARNING,
			(errmsg("link from node \"%s\" passes over rows of table %s from here on, so that others go on: %s",
					values[4], quote_qualified_identifier(table->nspname, table->relname), reason),
			 errhint("When that is mended: SELECT replication_plugin.resend_table() of the table, on a node that has its rows.")));
	return true;
}

bool
table_waits(Link *link, const ErrorData *edata, const WireBegin *transaction)
{
	LostTable	table;
	Moment		since;
	bool		exists;
	int			patience;
	char	   *owner;
	char	   *reason;

	/* a node that is joining cannot tell the others yet */
	if (link->joining || !apply_failed_table(&table) || strcmp(table.nspname, EXTENSION_SCHEMA) == 0)
		return false;
	since = link_status_trouble(link->index, transaction->origin, transaction->origin_lsn);
	owner = owner_here(&table, &exists);
	patience = exists ? setting_failing_table_patience : setting_table_patience;
	if (patience == 0)
		return false;
	if (!exists)
		owner = owner_there(link, &table);
	/* waiting for a lock has taken that long already (link_worker.c) */
	if (!owner || (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && !moment_is_past(since, patience) && !has_others_waiting(owner)))
		return false;
	reason = psprintf("%s%s%s", edata->message, edata->detail ? " DETAIL: " : "", edata->detail ? edata->detail : "");
	return have_wait(link, &table, owner, reason);
}

void
table_wait_note_end(Link *link)
{
	LostTable	table;

	if (apply_failed_table(&table) && strcmp(table.nspname, EXTENSION_SCHEMA) != 0)
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

	if (!link_status_take_ended_at(link->index, nspname, relname) || setting_failing_table_patience == 0)
		return;
	table.nspname = nspname;
	table.relname = relname;
	owner = owner_here(&table, &exists);
	if (owner)
		(void) have_wait(link, &table, owner, psprintf("a row took longer than replication_plugin.row_timeout (%d ms), and its code did not let itself be cancelled",
												setting_row_timeout));
}
