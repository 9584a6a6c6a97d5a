/*
 * frontier.c
 *		SQL functions about frontiers, and the trigger that maintains the stable vector.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/pg_lsn.h"

#include "base/session.h"
#include "catalog/nodes.h"
#include "model/stable.h"
#include "shared/local_frontier.h"
#include "shared/seen.h"

static const char members_sql[] =
	"SELECT n.node_id, n.state = 'removed', coalesce(f.vector, n.add_frontier, ''),"
	" coalesce(f.fenced, n.add_fenced)"
	" FROM replication_plugin.node n LEFT JOIN replication_plugin.frontier f USING (node_id)";
static const char lock_stable_point_sql[] =
	"SELECT vector FROM replication_plugin.stable_point FOR UPDATE";
static const char store_stable_point_sql[] =
	"UPDATE replication_plugin.stable_point SET vector = $1";

PG_FUNCTION_INFO_V1(replication_plugin_frontier);
PG_FUNCTION_INFO_V1(replication_plugin_frontier_lsn);
PG_FUNCTION_INFO_V1(replication_plugin_frontier_ts);
PG_FUNCTION_INFO_V1(replication_plugin_frontier_covers);
PG_FUNCTION_INFO_V1(replication_plugin_raise_stable_point);

/* frontier() → text */
Datum
replication_plugin_frontier(PG_FUNCTION_ARGS)
{
	NodeId		me = nodes_local_id();

	if (me == INVALID_NODE_ID)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(frontier_to_text(local_frontier(me))));
}

/* Reads a frontier from text. Raises an error if it is malformed. */
static Frontier *
read_frontier(const char *text)
{
	Frontier   *f = frontier_from_text(text);

	if (!f)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("malformed frontier \"%s\"", text)));
	return f;
}

/* frontier_ts(text, integer) → timestamptz */
Datum
replication_plugin_frontier_ts(PG_FUNCTION_ARGS)
{
	TimestampTz ts =
		frontier_ts(read_frontier(text_to_cstring(PG_GETARG_TEXT_PP(0))), PG_GETARG_INT32(1));

	if (ts == PG_INT64_MIN)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(ts);
}

/* frontier_lsn(text, integer) → pg_lsn */
Datum
replication_plugin_frontier_lsn(PG_FUNCTION_ARGS)
{
	XLogRecPtr lsn =
		frontier_lsn(read_frontier(text_to_cstring(PG_GETARG_TEXT_PP(0))), PG_GETARG_INT32(1));

	if (lsn == InvalidXLogRecPtr)
		PG_RETURN_NULL();
	PG_RETURN_LSN(lsn);
}

/* frontier_covers(text, text) → boolean */
Datum
replication_plugin_frontier_covers(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(stable_covers(read_frontier(text_to_cstring(PG_GETARG_TEXT_PP(0))),
								 read_frontier(text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}

/* ---------- the stable vector ---------- */

/*
 * The statements that run for each frontier row, with their result. Each process that applies
 * frontier rows prepares them once.
 */
typedef enum Statement
{
	LOCK_STABLE_POINT,
	READ_MEMBERS,
	STORE_STABLE_POINT
} Statement;

static const struct
{
	const char *sql;
	int			nparams;
	int			result;
}			statements[] = {
	[LOCK_STABLE_POINT] = {lock_stable_point_sql, 0, SPI_OK_SELECT},
	[READ_MEMBERS] = {members_sql, 0, SPI_OK_SELECT},
	[STORE_STABLE_POINT] = {store_stable_point_sql, 1, SPI_OK_UPDATE}
};

static SPIPlanPtr plans[lengthof(statements)];

/*
 * Runs a statement. It sees everything that has committed before. value: its parameter, a text.
 */
static void
frontier_run(Statement s, Datum value)
{
	Oid			types[1] = {TEXTOID};

	session_keep_plan(&plans[s], statements[s].sql, statements[s].nparams, types);
	if (SPI_execute_plan(plans[s], &value, NULL, false, 0) != statements[s].result)
		elog(ERROR, "statement failed: %s", statements[s].sql);
}

/* Returns a column of the current result as text, or NULL if it is null. */
static char *
frontier_column(int row, int col)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col);
}

/* Reads the fenced nodes from a member's frontier row. */
static void
read_fenced(StableMember *m, int row, int col)
{
	bool		isnull;
	Datum		d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &isnull);
	Datum	   *values;
	NodeId	   *fenced;

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(d), INT4OID, 4, true, TYPALIGN_INT, &values, NULL,
					  &m->nfenced);
	fenced = palloc(Max(m->nfenced, 1) * sizeof(NodeId));
	for (int i = 0; i < m->nfenced; i++)
		fenced[i] = DatumGetInt32(values[i]);
	m->fenced = fenced;
}

/* Reads what this node knows of all members. Returns their number. */
static int
frontier_read_members(StableMember **members)
{
	int			n;

	frontier_run(READ_MEMBERS, (Datum) 0);
	n = SPI_processed;
	*members = palloc0(Max(n, 1) * sizeof(StableMember));
	for (int i = 0; i < n; i++)
	{
		StableMember *m = &(*members)[i];

		m->node = atoi(frontier_column(i, 1));
		m->removed = frontier_column(i, 2)[0] == 't';
		m->row = read_frontier(frontier_column(i, 3));
		if (m->row)
			seen_note_row(m->node, frontier_column(i, 3));
		read_fenced(m, i, 4);
	}
	return n;
}

/* Raises the stable vector to the minimum of the frontier rows. */
static void
raise_stable_point(void)
{
	NodeId		me = nodes_local_id();
	StableMember *members;
	Frontier   *stable;
	int			n;

	/* serialize, so that each call sees the row that the previous one has written */
	frontier_run(LOCK_STABLE_POINT, (Datum) 0);
	if (SPI_processed == 0)
		return;					/* joining: not all rows are copied yet */
	stable = read_frontier(frontier_column(0, 1));
	n = frontier_read_members(&members);
	if (!stable_raise(stable, members, n, me, local_frontier(me)))
		return;
	frontier_run(STORE_STABLE_POINT, CStringGetTextDatum(frontier_to_text(stable)));
}

/* raise_stable_point() → trigger */
Datum
replication_plugin_raise_stable_point(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	int			nest;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("raise_stable_point() is called by triggers only")));
	nest = session_sql_begin();
	if (nodes_local_id() != INVALID_NODE_ID)
		raise_stable_point();
	session_sql_end(nest);
	return PointerGetDatum(trigger->tg_trigtuple);
}
