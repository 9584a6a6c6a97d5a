/*
 * join.c
 *		SQL functions for joining a group.
 */
#include "postgres.h"

#include "fmgr.h"

#include "control/join.h"

PG_FUNCTION_INFO_V1(replication_plugin_require_join_programs);

/* require_join_programs(integer) → void */
Datum
replication_plugin_require_join_programs(PG_FUNCTION_ARGS)
{
	join_require_programs(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}
