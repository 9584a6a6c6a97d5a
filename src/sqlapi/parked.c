/*
 * parked.c
 *		SQL functions that show parked rows, and keys of stored rows.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "catalog/as_owner.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "control/join/park_copy.h"
#include "sqlapi/argument.h"
#include "store/parked.h"
#include "store/row_estate.h"
#include "store/row_json.h"

PG_FUNCTION_INFO_V1(replication_plugin_stored_key);
PG_FUNCTION_INFO_V1(replication_plugin_parked_json);
PG_FUNCTION_INFO_V1(replication_plugin_parked_of);
PG_FUNCTION_INFO_V1(replication_plugin_export_parked);
PG_FUNCTION_INFO_V1(replication_plugin_import_parked);

/* Returns true if a table exists and the caller may see all of its rows. */
static bool
may_read(Oid relid)
{
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) &&
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED;
}

/*
 * Reads a bytea column and relid of a row in one of the extension's tables, found by its TID. The
 * bytes are interpreted as they are stored, so callers must not supply bytes of their own. Returns
 * the table with that relid, open, if it exists and the caller may read it, else NULL.
 */
static Relation
parked_read_stored(const char *table, const char *column, ItemPointer place, bytea **bytes)
{
	Relation	heap = table_open(extension_relation_oid(table), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	Relation	rel = NULL;
	bool		isnull;

	if (ItemPointerIsValid(place) &&
		ItemPointerGetBlockNumber(place) < RelationGetNumberOfBlocks(heap) &&
		table_tuple_fetch_row_version(heap, place, GetActiveSnapshot(), slot))
	{
		Oid relid = DatumGetObjectId(
			slot_getattr(slot, get_attnum(RelationGetRelid(heap), "relid"), &isnull));

		*bytes = DatumGetByteaPCopy(
			slot_getattr(slot, get_attnum(RelationGetRelid(heap), column), &isnull));
		if (may_read(relid))
			rel = try_relation_open(relid, AccessShareLock);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(heap, AccessShareLock);
	return rel;
}

/* Converts a stored key to jsonb. Returns false if the table has another key now. */
static bool
key_json(Relation rel, bytea *bytes, Datum *json)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(rel, &attnums);
	Datum		key[INDEX_MAX_KEYS];
	TupleTableSlot *slot;
	bool		found;

	if (n == 0 || !tombstone_key_values(tombstone_keys(rel), bytes, key))
		return false;
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	memset(slot->tts_isnull, true, RelationGetDescr(rel)->natts * sizeof(bool));
	for (int i = 0; i < n; i++)
	{
		slot->tts_values[attnums[i] - 1] = key[i];
		slot->tts_isnull[attnums[i] - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
	found = row_json_key(rel, slot, json);
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

/*
 * stored_key(source text, place tid) → jsonb
 *
 * source: row_state, parked_row, or blocked_by for the blocking key of a parked row.
 */
Datum
replication_plugin_stored_key(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		states = strcmp(source, TABLE_ROW_STATE) == 0;
	bytea	   *bytes;
	Relation	rel = parked_read_stored(states ? TABLE_ROW_STATE : TABLE_PARKED_ROW,
								  strcmp(source, "blocked_by") == 0 ? source : "key",
							   (ItemPointer) PG_GETARG_POINTER(1), &bytes);
	OwnerContext saved;
	Datum		json;
	bool		found;

	if (!rel)
		PG_RETURN_NULL();
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	found = key_json(rel, bytes, &json);
	as_owner_end(saved);
	relation_close(rel, AccessShareLock);
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(json);
}

/* parked_json(place tid) → jsonb: the parked row at a TID of table parked_row */
Datum
replication_plugin_parked_json(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	Relation	rel =
		parked_read_stored(TABLE_PARKED_ROW, "row", (ItemPointer) PG_GETARG_POINTER(0), &bytes);
	TupleTableSlot *slot;
	OwnerContext saved;
	Sibling		row;
	Datum		json;

	if (!rel)
		PG_RETURN_NULL();
	row = (Sibling) {.row = VARDATA(bytes),.len = VARSIZE(bytes) - VARHDRSZ};
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	row_decode(row_codec(rel), &row, slot);
	row_generate(rel, slot);
	json = row_json(slot, NULL);
	as_owner_end(saved);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(json);
}

/*
 * parked_of(anyelement) → setof anyelement
 *
 * Returns the parked rows of the table whose row type the argument has.
 */
Datum
replication_plugin_parked_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid = typeidTypeRelid(get_fn_expr_argtype(fcinfo->flinfo, 0));
	Relation	rel;
	RowCodec   *codec;
	OwnerContext saved;
	ListCell   *lc;

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("the argument is no row of a table")));
	if (!may_read(relid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("you may not see all rows of table \"%s\"", get_rel_name(relid))));
	rel = table_open(relid, AccessShareLock);
	codec = row_codec(rel);
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC | MAT_SRF_BLESS);
	foreach(lc, parked_list(relid, GetActiveSnapshot(), true))
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);

		row_decode(codec, &((ParkedEntry *) lfirst(lc))->parked.row, slot);
		row_generate(rel, slot);
		slot_getallattrs(slot);
		tuplestore_putvalues(result->setResult, result->setDesc, slot->tts_values,
							 slot->tts_isnull);
		ExecDropSingleTupleTableSlot(slot);
	}
	as_owner_end(saved);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* export_parked(relation regclass, since bigint) → setof jsonb */
Datum
replication_plugin_export_parked(PG_FUNCTION_ARGS)
{
	Relation	rel = argument_table(PG_GETARG_OID(0), AccessShareLock);
	OwnerContext saved;

	if (!may_read(RelationGetRelid(rel)))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(rel));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	park_export(rel, (uint64) PG_GETARG_INT64(1), (ReturnSetInfo *) fcinfo->resultinfo);
	as_owner_end(saved);
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
