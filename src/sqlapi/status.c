/*
 * status.c
 *		SQL functions that show the state of workers, and wake them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "output/native.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/seen.h"
#include "sqlapi/settings.h"

PG_FUNCTION_INFO_V1(replication_plugin_link_states);
PG_FUNCTION_INFO_V1(replication_plugin_transaction_at_hand);
PG_FUNCTION_INFO_V1(replication_plugin_manager_pid);
PG_FUNCTION_INFO_V1(replication_plugin_request_manager);
PG_FUNCTION_INFO_V1(replication_plugin_suspend_workers);
PG_FUNCTION_INFO_V1(replication_plugin_origin_progress);
PG_FUNCTION_INFO_V1(replication_plugin_origin_progress_durable);
PG_FUNCTION_INFO_V1(replication_plugin_reload_origins);
PG_FUNCTION_INFO_V1(replication_plugin_drop_origins);
PG_FUNCTION_INFO_V1(replication_plugin_create_origin);

#define LINK_COLUMNS	19

/* Sets an LSN column; null if the LSN is invalid. */
static void
set_lsn(Datum *values, bool *nulls, int i, XLogRecPtr lsn)
{
	values[i] = LSNGetDatum(lsn);
	nulls[i] = lsn == InvalidXLogRecPtr;
}

/* Sets a timestamp column; null if the timestamp is 0. */
static void
set_ts(Datum *values, bool *nulls, int i, TimestampTz ts)
{
	values[i] = TimestampTzGetDatum(ts);
	nulls[i] = ts == 0;
}

/* Fills in one row of link_states(). */
static void
link_row(const LinkStatus *l, Datum *values, bool *nulls)
{
	memset(nulls, 0, LINK_COLUMNS * sizeof(bool));
	values[0] = Int32GetDatum(l->provider);
	values[1] = CStringGetTextDatum(link_state_name(l->state));
	values[2] = Int32GetDatum(l->pid);
	nulls[2] = l->pid == 0;
	set_lsn(values, nulls, 3, l->received_lsn);
	set_lsn(values, nulls, 4, l->applied_lsn);
	set_lsn(values, nulls, 5, l->provider_lsn);
	set_ts(values, nulls, 6, l->last_commit_ts);
	values[7] = Int64GetDatum((int64) l->transactions);
	values[8] = Int64GetDatum((int64) l->rows);
	nulls[9] = l->last_error[0] == '\0';
	values[9] = nulls[9] ? (Datum) 0 : CStringGetTextDatum(l->last_error);
	set_ts(values, nulls, 10, l->last_error_at);
	values[11] = Int64GetDatum((int64) l->restarts);
	values[12] = Int32GetDatum(l->blocked_on);
	nulls[12] = l->blocked_on == INVALID_NODE_ID;
	set_lsn(values, nulls, 13, nulls[12] ? InvalidXLogRecPtr : l->blocked_lsn);
	set_ts(values, nulls, 14, nulls[12] ? 0 : l->blocked_since);
	set_ts(values, nulls, 15, l->caught_up_at);
	values[16] = CStringGetTextDatum(l->full_origins);
	nulls[16] = l->full_origins[0] == '\0';
	values[17] = CStringGetTextDatum(l->reroute ? "reroute" : "topology");
	values[18] = Int32GetDatum(l->protocol);
	nulls[18] = l->protocol == 0;
}

/* link_states() → setof record */
Datum
replication_plugin_link_states(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;
		Datum		values[LINK_COLUMNS];
		bool		nulls[LINK_COLUMNS];

		if (!link_status_get(i, &l) || l.dboid != MyDatabaseId)
			continue;
		link_row(&l, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* transaction_at_hand() → (node_id integer, lsn pg_lsn) */
Datum
replication_plugin_transaction_at_hand(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	NodeId		node;
	XLogRecPtr	lsn;
	Datum		values[2];
	bool		nulls[2];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	nulls[0] = nulls[1] = !native_at_hand(&node, &lsn);
	values[0] = Int32GetDatum(node);
	values[1] = LSNGetDatum(lsn);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* manager_pid() → integer */
Datum
replication_plugin_manager_pid(PG_FUNCTION_ARGS)
{
	ManagerStatus m;

	if (!manager_status_find(MyDatabaseId, &m) || m.pid == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(m.pid);
}

/* request_manager(in_group boolean) → void: takes effect at commit */
Datum
replication_plugin_request_manager(PG_FUNCTION_ARGS)
{
	settings_request_at_commit(PG_GETARG_BOOL(0));
	PG_RETURN_VOID();
}

/* suspend_workers() → void: lasts until the transaction ends */
Datum
replication_plugin_suspend_workers(PG_FUNCTION_ARGS)
{
	settings_suspend_workers();
	PG_RETURN_VOID();
}

/* origin_progress(integer) → pg_lsn */
Datum
replication_plugin_origin_progress(PG_FUNCTION_ARGS)
{
	XLogRecPtr	lsn;

	origin_map_ensure_loaded();
	lsn = origin_hold_visible(PG_GETARG_INT32(0), false);
	if (lsn == InvalidXLogRecPtr)
		PG_RETURN_NULL();
	PG_RETURN_LSN(lsn);
}

/* origin_progress_durable(integer) → pg_lsn */
Datum
replication_plugin_origin_progress_durable(PG_FUNCTION_ARGS)
{
	XLogRecPtr	lsn;

	origin_map_ensure_loaded();
	lsn = origin_hold_visible(PG_GETARG_INT32(0), true);
	if (lsn == InvalidXLogRecPtr)
		PG_RETURN_NULL();
	PG_RETURN_LSN(lsn);
}

/* reload_origins() → void */
Datum
replication_plugin_reload_origins(PG_FUNCTION_ARGS)
{
	origin_map_ensure_loaded();
	origin_map_reload();
	PG_RETURN_VOID();
}

/* drop_origins() → void */
Datum
replication_plugin_drop_origins(PG_FUNCTION_ARGS)
{
	origin_map_drop_all();
	settings_forget_seen_at_commit();
	PG_RETURN_VOID();
}

/* create_origin(node_id integer) → void: takes effect when the transaction commits */
Datum
replication_plugin_create_origin(PG_FUNCTION_ARGS)
{
	if (PG_GETARG_INT32(0) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d is no node number", PG_GETARG_INT32(0))));
	(void) origin_map_create(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}
