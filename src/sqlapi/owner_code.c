/*
 * owner_code.c
 *		SQL functions that tell under which search_path the functions of tables' owners run.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog/owner_path.h"
#include "catalog/table_code.h"

PG_FUNCTION_INFO_V1(replication_plugin_runs_code);
PG_FUNCTION_INFO_V1(replication_plugin_code_search_path);

/* runs_code(relation regclass) → boolean; null if it is gone */
Datum
replication_plugin_runs_code(PG_FUNCTION_ARGS)
{
	Relation	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	bool		runs;

	if (!rel)
		PG_RETURN_NULL();
	runs = table_runs_code(rel);
	relation_close(rel, AccessShareLock);
	PG_RETURN_BOOL(runs);
}

/* code_search_path(owner oid) → text */
Datum
replication_plugin_code_search_path(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(owner_path(PG_GETARG_OID(0))));
}
