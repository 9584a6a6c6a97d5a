/*
 * wait.c
 *		SQL functions that wait for a state of this node: that it is ready, that it knows of a
 *		removal, that it has applied what another node has committed or what a client has read
 *		elsewhere, that its workers have ended.
 *
 * Each look at a table takes a snapshot of its own. Between looks the session sleeps until it is
 * woken (shared/wakeup.h). wait_for_apply() has a file of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/session.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/wakeup.h"
#include "sqlapi/argument.h"

PG_FUNCTION_INFO_V1(replication_plugin_wait_until_ready);
PG_FUNCTION_INFO_V1(replication_plugin_wait_for_removal);
PG_FUNCTION_INFO_V1(replication_plugin_wait_for_progress);
PG_FUNCTION_INFO_V1(replication_plugin_wait_for_context);
PG_FUNCTION_INFO_V1(replication_plugin_wait_for_workers_to_stop);

/* Whether this node is ready, and whether it never will be; its progress, and its last error. */
static const char local_sql[] =
	"SELECT coalesce(l.state = 'ready' AND l.announced, false),"
	" l.state IN ('removed', 'needs_rejoin', 'leaving', 'left'),"
	" l.state || coalesce(': ' || l.progress, ''), coalesce(l.last_error, '')"
	" FROM replication_plugin.local_node l";
static const char removed_sql[] =
	"SELECT FROM replication_plugin.node n WHERE n.node_id = $1 AND n.state = 'removed'";

static const char require_key_sql[] = "SELECT replication_plugin.require_key($1, $2)";
static const char context_sql[] =
	"SELECT replication_plugin.context_is_here($1, replication_plugin.row_of_json($1, $2), $3)";

/* Workers of this database but the manager. The list of processes is read anew. */
static const char workers_sql[] =
	"SELECT FROM pg_stat_clear_snapshot() WHERE EXISTS"
	" (SELECT FROM replication_plugin.link_states() WHERE pid IS NOT NULL)"
	" OR EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
	" AND backend_type LIKE 'replication_plugin %' AND backend_type <> 'replication_plugin manager')";

/* Nothing tells of the end of a worker: its entry is gone only after its own last callback. */
#define WORKERS_PAUSE_MS	50

/* Prepares a statement for the duration of a call. */
static SPIPlanPtr
wait_prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

	if (!plan)
		elog(ERROR, "could not prepare \"%s\"", sql);
	return plan;
}

/* Runs a query with a new snapshot. Returns the number of rows. */
static uint64
wait_look(SPIPlanPtr plan, Datum *args)
{
	if (SPI_execute_plan(plan, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tables of the group");
	return SPI_processed;
}

/* ---------- wait_until_ready() ---------- */

typedef enum Readiness
{
	NOT_YET,
	READY,
	NEVER
} Readiness;

/* Puts a text in the place of the last one, which is freed. Returns true if they differ. */
static bool
wait_replace(char **last, char *text)
{
	bool		differs = strcmp(*last, text) != 0;

	pfree(*last);
	*last = text;
	return differs;
}

/*
 * Looks at this node's row. Tells the client of progress and of errors that are not those of the
 * last look. Raises an error if this database is in no group.
 */
static Readiness
look_at_node(SPIPlanPtr plan, char **said, char **complained)
{
	HeapTuple	row;
	TupleDesc	desc;
	Readiness	result;

	if (wait_look(plan, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is in no group"),
				 errhint("Call create_group() or join_group() first.")));
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	result = SPI_getvalue(row, desc, 1)[0] == 't' ? READY : SPI_getvalue(row, desc, 2)[0] == 't' ? NEVER : NOT_YET;
	if (result != READY && wait_replace(said, SPI_getvalue(row, desc, 3)))
		ereport(NOTICE, (errmsg_internal("%s", *said)));
	if (result != READY && wait_replace(complained, SPI_getvalue(row, desc, 4)) && **complained)
		ereport(NOTICE, (errmsg("error, tried again: %s", *complained)));
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* wait_until_ready(timeout interval) → boolean */
Datum
replication_plugin_wait_until_ready(PG_FUNCTION_ARGS)
{
	Moment		deadline = argument_deadline(PG_GETARG_INTERVAL_P(0));
	int			nest = session_sql_begin();
	SPIPlanPtr	plan = wait_prepare(local_sql, 0, NULL);
	char	   *said = pstrdup("");
	char	   *complained = pstrdup("");
	Readiness	readiness;

	do
		readiness = look_at_node(plan, &said, &complained);
	while (readiness == NOT_YET && wakeup_sleep_until(WAKEUP_GROUP, deadline));
	wakeup_done();
	session_sql_end(nest);
	PG_RETURN_BOOL(readiness == READY);
}

/* ---------- what other members ask for ---------- */

/*
 * wait_for_removal(leaving integer, timeout interval) → boolean
 *
 * Called by a node that leaves. Returns true if this node knows it as removed.
 */
Datum
replication_plugin_wait_for_removal(PG_FUNCTION_ARGS)
{
	Datum		leaving = PG_GETARG_DATUM(0);
	Oid			types[1] = {INT4OID};
	Moment		deadline = argument_deadline(PG_GETARG_INTERVAL_P(1));
	int			nest = session_sql_begin();
	SPIPlanPtr	plan = wait_prepare(removed_sql, 1, types);
	bool		removed;

	do
	{
		removed = wait_look(plan, &leaving) > 0;
		SPI_freetuptable(SPI_tuptable);
	}
	while (!removed && wakeup_sleep_until(WAKEUP_GROUP, deadline));
	wakeup_done();
	session_sql_end(nest);
	PG_RETURN_BOOL(removed);
}

/*
 * wait_for_progress(origin integer, target pg_lsn, timeout interval) → boolean
 *
 * Called by a member that has no slot for this node. Returns true if this node has, durably, what
 * was committed there up to the position. Only what is visible is flushed.
 */
Datum
replication_plugin_wait_for_progress(PG_FUNCTION_ARGS)
{
	NodeId		origin = PG_GETARG_INT32(0);
	XLogRecPtr	target = PG_GETARG_LSN(1);
	Moment		deadline = argument_deadline(PG_GETARG_INTERVAL_P(2));
	bool		has;

	origin_map_ensure_loaded();
	do
		has = origin_hold_visible(origin, false) >= Max(target, 1) && origin_hold_visible(origin, true) >= target;
	while (!has && wakeup_sleep_until(WAKEUP_APPLIED, deadline));
	wakeup_done();
	PG_RETURN_BOOL(has);
}

/* ---------- what a client has read elsewhere ---------- */

/*
 * wait_for_context(relation regclass, key jsonb, context text, timeout interval) → boolean
 *
 * Runs with the settings of the session, by which the values of the key are read.
 */
Datum
replication_plugin_wait_for_context(PG_FUNCTION_ARGS)
{
	Oid			types[3] = {REGCLASSOID, JSONBOID, TEXTOID};
	Datum		args[3];
	char		nulls[4] = "   ";
	Moment		deadline;
	SPIPlanPtr	plan;
	bool		here;

	if (PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the causal context and the timeout may not be null")));
	for (int i = 0; i < 3; i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	deadline = argument_deadline(PG_GETARG_INTERVAL_P(3));
	SPI_connect();
	if (SPI_execute_with_args(require_key_sql, 2, types, args, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not check the key");
	plan = wait_prepare(context_sql, lengthof(types), types);
	do
	{
		bool		isnull;

		(void) wait_look(plan, args);
		here = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) && !isnull;
		SPI_freetuptable(SPI_tuptable);
	}
	while (!here && wakeup_sleep_until(WAKEUP_APPLIED, deadline));
	wakeup_done();
	SPI_finish();
	PG_RETURN_BOOL(here);
}

/* ---------- workers ---------- */

/* wait_for_workers_to_stop(patience interval) → boolean */
Datum
replication_plugin_wait_for_workers_to_stop(PG_FUNCTION_ARGS)
{
	Moment		deadline = argument_deadline(PG_GETARG_INTERVAL_P(0));
	int			nest = session_sql_begin();
	SPIPlanPtr	plan = wait_prepare(workers_sql, 0, NULL);
	bool		stopped;

	for (;;)
	{
		long		left = moment_ms_until(deadline);

		stopped = wait_look(plan, NULL) == 0;
		SPI_freetuptable(SPI_tuptable);
		if (stopped || left == 0)
			break;
		wakeup_pause(Min(left, WORKERS_PAUSE_MS));
	}
	session_sql_end(nest);
	PG_RETURN_BOOL(stopped);
}
