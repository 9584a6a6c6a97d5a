/*
 * drop_kept.c
 *		Gives up the kept changes of a table that is dropped.
 *
 * What is kept of a waiting table (apply/keep.c) is stored under the table's name. So a table that
 * is created under that name later would get the rows of the dropped one, on this node alone.
 *
 * The name itself goes on waiting. The park worker ends that: at once if the table is created anew
 * (control/waiting/kept.c), otherwise when no member has it any more
 * (control/waiting/gone_table.c). Until then, arriving changes are of a table that other nodes
 * have.
 *
 * The hook for objects sees every way of dropping, after the table is locked. The park worker may
 * have read changes that it has not applied yet; it finds that they are deleted before it commits.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/own_worker.h"
#include "base/session.h"
#include "catalog/names.h"
#include "catalog/waiting_table.h"
#include "control/guard/drop_kept.h"

static const char delete_changes_sql[] =
	"DELETE FROM " EXTENSION_SCHEMA "." TABLE_WAITING_CHANGE " c"
	" WHERE c.schema_name = $1 AND c.table_name = $2";
static const char insert_conflict_sql[] =
	"INSERT INTO " EXTENSION_SCHEMA ".conflict_log"
	" (detected_at, relid, table_name, conflict_type, resolution, detail)"
	" VALUES (pg_catalog.clock_timestamp(), 0, $1, 'table_missing', 'skip',"
	" $2 || ' changes that were kept: the table was dropped on this node')";

/*
 * Deletes what is kept of a table, and returns the number of changes. Uses a snapshot of its own:
 * the snapshot of a REPEATABLE READ transaction may be older than the changes.
 */
static uint64
drop_kept_delete_changes(const WaitingTable *w)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		args[2] = {CStringGetTextDatum(w->schema), CStringGetTextDatum(w->name)};
	const char *sql = delete_changes_sql;
	SPIPlanPtr	plan = SPI_prepare(sql, 2, types);

	if (!plan || SPI_execute_snapshot(plan, args, NULL, GetLatestSnapshot(), InvalidSnapshot,
									  false, true, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not run \"%s\"", sql);
	return SPI_processed;
}

/* Records the loss in the view conflicts. */
static void
drop_kept_record(const char *table, uint64 changes)
{
	Oid			types[2] = {TEXTOID, INT8OID};
	Datum		args[2] = {CStringGetTextDatum(table), Int64GetDatum((int64) changes)};

	if (SPI_execute_with_args(insert_conflict_sql, 2, types, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not record that kept changes are given up");
}

/* Gives up what is kept of a table, with the rights of a superuser. */
static void
give_up(const WaitingTable *w)
{
	char	   *table = quote_qualified_identifier(w->schema, w->name);
	uint64		changes;
	Oid			user;
	int			security,
				nest;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	nest = session_sql_begin();
	changes = drop_kept_delete_changes(w);
	if (changes > 0)
		drop_kept_record(table, changes);
	session_sql_end(nest);
	SetUserIdAndSecContext(user, security);
	if (changes > 0)
		ereport(WARNING,
				(errmsg(UINT64_FORMAT " changes of table %s from other nodes that were kept on this node are given up, as it is dropped",
						changes, table)));
}

void
drop_kept_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	const WaitingTable *w;

	if (class != RelationRelationId || subid != 0 || is_own_worker() || creating_extension ||
		!IsTransactionState() || !OidIsValid(MyDatabaseId) || !waiting_tables())
		return;
	w = waiting_table_kept(object);
	if (w)
		give_up(w);
}
