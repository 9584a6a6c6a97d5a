/*
 * owner_code.c
 *		SQL functions about the code of tables' owners: its search_path, and limits on what it
 *		does.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "base/code_hook.h"
#include "base/compat.h"
#include "catalog/owner_path.h"
#include "catalog/table_code.h"

PG_FUNCTION_INFO_V1(replication_plugin_runs_code);
PG_FUNCTION_INFO_V1(replication_plugin_code_search_path);
PG_FUNCTION_INFO_V1(replication_plugin_rows_of_query);

/* runs_code(relation regclass) → boolean; null if the table does not exist */
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

/* rows_of_query(query text) → setof record */
Datum
replication_plugin_rows_of_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			nest = NewGUCNestLevel();

	(void) set_config_option(CODE_AS_OWNERS, "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query");
	if (SPI_tuptable->tupdesc->natts != result->setDesc->natts)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("the query has other columns than are expected")));
	for (int i = 0; i < result->setDesc->natts; i++)
	{
		if (TupleDescAttr(SPI_tuptable->tupdesc, i)->atttypid !=
			TupleDescAttr(result->setDesc, i)->atttypid)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("the query has other columns than are expected")));
	}
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	AtEOXact_GUC(false, nest);
	return (Datum) 0;
}
