/*
 * parked.c
 *		SQL functions that show parked rows.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/park_copy.h"
#include "conflict/parked.h"

PG_FUNCTION_INFO_V1(replication_plugin_parked_record);
PG_FUNCTION_INFO_V1(replication_plugin_parked_of);
PG_FUNCTION_INFO_V1(replication_plugin_export_parked);
PG_FUNCTION_INFO_V1(replication_plugin_import_parked);

/* A stored row as a value of the table's type. */
static Datum
record_of(Relation rel, RowCodec *codec, const Sibling *row)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	Datum		record;

	row_decode(codec, row, slot);
	record = heap_copy_tuple_as_datum(ExecCopySlotHeapTuple(slot), RelationGetDescr(rel));
	ExecDropSingleTupleTableSlot(slot);
	return record;
}

/* parked_record(relid oid, row bytea) → record; null if the table is gone */
Datum
replication_plugin_parked_record(PG_FUNCTION_ARGS)
{
	Relation	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	bytea	   *bytes = PG_GETARG_BYTEA_PP(1);
	Sibling		row = {.row = VARDATA_ANY(bytes),.len = VARSIZE_ANY_EXHDR(bytes)};
	Datum		record;

	if (!rel)
		PG_RETURN_NULL();
	record = record_of(rel, row_codec(rel), &row);
	relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(record);
}

/* parked_of(anyelement) → setof anyelement: the parked rows of the table whose row type the argument has */
Datum
replication_plugin_parked_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid = typeidTypeRelid(get_fn_expr_argtype(fcinfo->flinfo, 0));
	Relation	rel;
	RowCodec   *codec;
	ListCell   *lc;

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("the argument is no row of a table")));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(relid));
	rel = table_open(relid, AccessShareLock);
	codec = row_codec(rel);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC | MAT_SRF_BLESS);
	foreach(lc, parked_list(relid, GetActiveSnapshot(), true))
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);

		row_decode(codec, &((ParkedEntry *) lfirst(lc))->parked.row, slot);
		slot_getallattrs(slot);
		tuplestore_putvalues(result->setResult, result->setDesc, slot->tts_values, slot->tts_isnull);
		ExecDropSingleTupleTableSlot(slot);
	}
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* export_parked(relation regclass, since bigint) → setof jsonb */
Datum
replication_plugin_export_parked(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(PG_GETARG_OID(0), AccessShareLock);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	park_export(rel, (uint64) PG_GETARG_INT64(1), (ReturnSetInfo *) fcinfo->resultinfo);
	table_close(rel, NoLock);
	return (Datum) 0;
}

/* import_parked(relation regclass, entry jsonb) → void */
Datum
replication_plugin_import_parked(PG_FUNCTION_ARGS)
{
	park_import(PG_GETARG_OID(0), PG_GETARG_JSONB_P(1));
	PG_RETURN_VOID();
}
