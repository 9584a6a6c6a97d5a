/*
 * clock.c
 *		SQL functions about clocks.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/shmem.h"
#include "shared/clock.h"
#include "shared/link_status.h"
#include "shared/wall_clock.h"

PG_FUNCTION_INFO_V1(replication_plugin_clock_tick);
PG_FUNCTION_INFO_V1(replication_plugin_observe_clock);
PG_FUNCTION_INFO_V1(replication_plugin_clock_offset);

/* clock_tick() → timestamptz */
Datum
replication_plugin_clock_tick(PG_FUNCTION_ARGS)
{
	shmem_require();
	PG_RETURN_TIMESTAMPTZ(clock_tick());
}

/* observe_clock(timestamptz) → void */
Datum
replication_plugin_observe_clock(PG_FUNCTION_ARGS)
{
	int64		excess;

	shmem_require();
	if ((excess = wall_clock_excess(PG_GETARG_TIMESTAMPTZ(0))) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the timestamp is %s ahead of this server's clock, which is more than replication_plugin.max_clock_skew",
						wall_clock_span(excess)),
				 errhint("Compare the clocks of the servers. If this one's is right, and transactions of the group have such timestamps:"
						 " raise replication_plugin.max_clock_skew here.")));
	clock_observe(PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_VOID();
}

/* clock_offset(node_id integer) → interval */
Datum
replication_plugin_clock_offset(PG_FUNCTION_ARGS)
{
	int index = shmem_exists() ? link_status_find(MyDatabaseId, PG_GETARG_INT32(0), false) : -1;
	LinkStatus	l;
	Interval   *offset;

	if (index < 0 || !link_status_get(index, &l) || l.clock_error == 0)
		PG_RETURN_NULL();
	offset = palloc0(sizeof(Interval));
	offset->time = l.clock_base + moment_now() - GetCurrentTimestamp();
	PG_RETURN_INTERVAL_P(offset);
}
