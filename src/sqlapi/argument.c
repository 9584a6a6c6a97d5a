/*
 * argument.c
 *		Arguments of SQL functions: named objects and timeouts.
 */
#include "postgres.h"

#include "access/table.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "sqlapi/argument.h"

Relation
argument_table(Oid relid, LOCKMODE mode)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no relation with OID %u", relid)));
	return table_open(relid, mode);
}

Moment
argument_deadline(Interval *timeout)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
															  IntervalPGetDatum(timeout)));

	return moment_after(end > now ? (end - now) / 1000 : 0);
}
