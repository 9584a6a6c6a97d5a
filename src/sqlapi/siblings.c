/*
 * siblings.c
 *		SQL functions about the siblings of rows of mergeable tables, and about handlers.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "capture/capture.h"
#include "capture/causal_context.h"
#include "catalog/as_owner.h"
#include "catalog/table_info.h"
#include "control/guard/write_guard.h"
#include "control/join/state_copy.h"
#include "merge/merge_columns.h"
#include "shared/seen.h"
#include "sqlapi/argument.h"
#include "store/row_estate.h"

PG_FUNCTION_INFO_V1(replication_plugin_row_of_json);
PG_FUNCTION_INFO_V1(replication_plugin_row_of);
PG_FUNCTION_INFO_V1(replication_plugin_siblings_of);
PG_FUNCTION_INFO_V1(replication_plugin_delete_unshown);
PG_FUNCTION_INFO_V1(replication_plugin_context_of);
PG_FUNCTION_INFO_V1(replication_plugin_context_is_here);
PG_FUNCTION_INFO_V1(replication_plugin_export_states);
PG_FUNCTION_INFO_V1(replication_plugin_import_state);
PG_FUNCTION_INFO_V1(replication_plugin_check_handler);
PG_FUNCTION_INFO_V1(replication_plugin_check_merge);
PG_FUNCTION_INFO_V1(replication_plugin_state_forgettable);
PG_FUNCTION_INFO_V1(replication_plugin_call_handler);

/* Opens a mergeable table all of whose rows the caller may read. Raises an error otherwise. */
static Relation
open_readable(Oid relid)
{
	Relation	rel = argument_table(relid, AccessShareLock);

	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(rel));
	if (check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security of table \"%s\" may hide siblings from you", RelationGetRelationName(rel))));
	if (!table_is_mergeable(rel) || !OidIsValid(table_key_index(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" keeps no siblings", RelationGetRelationName(rel)),
				 errhint("SELECT replication_plugin.set_conflict_policy('%s', 'siblings') makes it keep them.",
						 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel)))));
	return rel;
}

/* Returns a slot with a record of the table's row type. */
static TupleTableSlot *
slot_of_record(Relation rel, Datum record)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(record);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header),.t_data = header};
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);

	if (HeapTupleHeaderGetTypeId(header) != rel->rd_rel->reltype)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the record is no row of table \"%s\"", RelationGetRelationName(rel))));
	heap_deform_tuple(&tuple, RelationGetDescr(rel), slot->tts_values, slot->tts_isnull);
	return ExecStoreVirtualTuple(slot);
}

/* Makes a row of a table from an object of column values, by jsonb_populate_record(). */
static Datum
populate_row(Oid row_type, Datum values)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo	flinfo;
	List	   *args = list_make2(makeNullConst(row_type, -1, InvalidOid),
								  makeNullConst(JSONBOID, -1, InvalidOid));

	fmgr_info(F_JSONB_POPULATE_RECORD, &flinfo);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_JSONB_POPULATE_RECORD, row_type, args, InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {(Datum) 0, true};
	fcinfo->args[1] = (NullableDatum) {values, false};
	return FunctionCallInvoke(fcinfo);
}

/*
 * row_of_json(relation regclass, "values" jsonb) → record
 *
 * Input functions and domains are code of the table's owner, and run as the owner.
 */
Datum
replication_plugin_row_of_json(PG_FUNCTION_ARGS)
{
	Relation	rel = argument_table(PG_GETARG_OID(0), AccessShareLock);
	OwnerContext saved;
	Datum		row;

	if (pg_class_aclcheck(RelationGetRelid(rel), GetUserId(),
						  ACL_SELECT | ACL_DELETE | ACL_INSERT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(rel));
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	row = populate_row(rel->rd_rel->reltype, PG_GETARG_DATUM(1));
	as_owner_end(saved);
	table_close(rel, AccessShareLock);
	PG_RETURN_DATUM(row);
}

/*
 * row_of(base anyelement, "values" jsonb) → anyelement
 *
 * Does the same for a query that needs to know the columns. base: null of the table's row type.
 */
Datum
replication_plugin_row_of(PG_FUNCTION_ARGS)
{
	Oid			relid = typeidTypeRelid(get_fn_expr_argtype(fcinfo->flinfo, 0));

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("the argument is no row of a table")));
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall2(replication_plugin_row_of_json, ObjectIdGetDatum(relid),
										PG_GETARG_DATUM(1)));
}

/* Returns the siblings of the key in a record, read as the table's owner. */
static SiblingSet *
siblings_of_key(Relation rel, MergeTable *t, Datum record, MergedColumns *merged)
{
	ShownRow	shown = {0};
	TupleTableSlot *row = table_slot_create(rel, NULL);
	TupleTableSlot *given = slot_of_record(rel, record);
	Datum		key[INDEX_MAX_KEYS];
	RowState	found;
	SiblingSet *set;
	bool		have;
	OwnerContext saved = as_owner_begin_code(rel->rd_rel->relowner);

	merge_table_key(t, given, key);
	have = merge_table_find_row(rel, key, GetLatestSnapshot(), row);
	set = merge_table_siblings(t, rel, key, have ? row : NULL, VERSION_SELF, &found, true);
	shown.row = have ? row : NULL;
	shown.version = set->n > 0 ? set->items[0].version : VERSION_OLDEST;
	merge_columns_values(t, &found, &shown, merged);
	as_owner_end(saved);
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(given);
	return set;
}

/* Returns the row of a slot as a value of the table's row type. */
static Datum
record_of_slot(Relation rel, TupleTableSlot *slot)
{
	return heap_copy_tuple_as_datum(ExecCopySlotHeapTuple(slot), RelationGetDescr(rel));
}

/*
 * siblings_of(relation regclass, key record) → setof (version text, node_id integer, written_at
 * timestamptz, deleted boolean, siblings record)
 */
Datum
replication_plugin_siblings_of(PG_FUNCTION_ARGS)
{
	Relation	rel = open_readable(PG_GETARG_OID(0));
	MergeTable *t = merge_table_open(rel);
	MergedColumns merged;
	SiblingSet *set = siblings_of_key(rel, t, PG_GETARG_DATUM(1), &merged);
	TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	OwnerContext saved;

	InitMaterializedSRF(fcinfo, 0);

	saved = as_owner_begin_code(rel->rd_rel->relowner);	/* casts to json can be any user's code */

	/* that a row is merely deleted is forgotten at some time, which differs between nodes */
	for (int i = 0; i < set->n && !sibling_just_deleted(set); i++)
	{
		const Sibling *s = &set->items[i];
		SiblingSet	one = {.n = 1,.items = (Sibling *) s};
		bool		unknown = version_is_oldest(s->version) || version_is_self(s->version);
		Datum		values[5];
		bool		nulls[5] = {version_is_self(s->version), unknown, unknown, false, s->deleted};

		values[0] = CStringGetTextDatum(causal_context_to_text(&one));
		values[1] = Int32GetDatum(s->version.node);
		values[2] = TimestampTzGetDatum(s->version.ts);
		values[3] = BoolGetDatum(s->deleted);
		if (!s->deleted)
		{
			row_decode(t->codec, s, row);
			merge_columns_show(&t->policy, &merged, row);
			row_generate(rel, row);
			values[4] = DirectFunctionCall1(row_to_json, record_of_slot(rel, row));
		}
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	as_owner_end(saved);
	ExecDropSingleTupleTableSlot(row);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* Opens a table whose rows the caller may delete. Raises an error otherwise. */
static Relation
open_deletable(Oid relid)
{
	Relation	rel = argument_table(relid, RowExclusiveLock);

	if (pg_class_aclcheck(relid, GetUserId(), ACL_DELETE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(rel));
	PreventCommandIfReadOnly("delete_unshown()");
	write_guard_check(relid);
	return rel;
}

/* Returns true if the table has a row with the key by now, committed or in progress. */
static bool
row_is_coming(Relation rel, MergeTable *t, const Datum *key)
{
	TupleTableSlot *row = table_slot_create(rel, NULL);
	OwnerContext saved = as_owner_begin_code(rel->rd_rel->relowner);
	SnapshotData dirty;
	bool		found;

	InitDirtySnapshot(dirty);
	found = merge_table_find_row(rel, key, &dirty, row);
	as_owner_end(saved);
	ExecDropSingleTupleTableSlot(row);
	return found;
}

/*
 * delete_unshown(relation regclass, key record) → void
 *
 * Deletes a row that the table does not show (the newest of its values is a delete, or it is
 * parked), which DELETE cannot do. The stored row state serves as the lock. A session that inserts
 * the key at the same time may have read the state before: then one of the two must try again.
 */
Datum
replication_plugin_delete_unshown(PG_FUNCTION_ARGS)
{
	Relation	rel = open_deletable(PG_GETARG_OID(0));
	MergeTable *t;
	Datum		key[INDEX_MAX_KEYS];
	MergedColumns merged;
	SiblingSet *set;
	TupleTableSlot *given;

	if (!table_is_mergeable(rel) || !OidIsValid(table_key_index(rel)))
	{
		table_close(rel, NoLock);	/* the table shows all its rows */
		PG_RETURN_VOID();
	}
	table_close(open_readable(RelationGetRelid(rel)), AccessShareLock);
	t = merge_table_open(rel);
	set = siblings_of_key(rel, t, PG_GETARG_DATUM(1), &merged);
	given = slot_of_record(rel, PG_GETARG_DATUM(1));
	merge_table_key(t, given, key);
	if (set->n > 0 && !sibling_just_deleted(set))
	{
		OwnerContext saved = as_owner_begin_code(rel->rd_rel->relowner);

		capture_write_delete_parked(t, rel, key);
		as_owner_end(saved);
		if (row_is_coming(rel, t, key))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("a row of table \"%s\" was written by two transactions at once", RelationGetRelationName(rel)),
					 errhint("Try again.")));
	}
	ExecDropSingleTupleTableSlot(given);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* context_of(relation regclass, key record) → text */
Datum
replication_plugin_context_of(PG_FUNCTION_ARGS)
{
	Relation	rel = open_readable(PG_GETARG_OID(0));
	MergedColumns merged;
	SiblingSet *set = siblings_of_key(rel, merge_table_open(rel), PG_GETARG_DATUM(1), &merged);
	char	   *text;

	if (sibling_just_deleted(set))
		set->n = 0;
	text = causal_context_to_text(set);
	for (int i = 0; i < set->n; i++)
	{
		if (version_is_self(set->items[i].version))
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
					 errmsg("this transaction has written the row itself"),
					 errhint("Ask for the context after it has committed.")));
	}
	table_close(rel, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(text));
}

/* context_is_here(relation regclass, key record, context text) → boolean */
Datum
replication_plugin_context_is_here(PG_FUNCTION_ARGS)
{
	Relation	rel = open_readable(PG_GETARG_OID(0));
	MergedColumns merged;
	SiblingSet *set = siblings_of_key(rel, merge_table_open(rel), PG_GETARG_DATUM(1), &merged);
	Version    *read;
	int			n;

	if (!causal_context_parse(text_to_cstring(PG_GETARG_TEXT_PP(2)), &read, &n))
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("\"%s\" is no causal context", text_to_cstring(PG_GETARG_TEXT_PP(2)))));
	table_close(rel, AccessShareLock);
	PG_RETURN_BOOL(causal_context_covered(set, seen_through(), read, n));
}

/* check_handler(relation regclass, handler regprocedure) → void */
Datum
replication_plugin_check_handler(PG_FUNCTION_ARGS)
{
	Relation	rel = argument_table(PG_GETARG_OID(0), AccessShareLock);

	resolve_check_handler(rel, PG_GETARG_OID(1));
	table_close(rel, AccessShareLock);
	PG_RETURN_VOID();
}

/* call_handler(relation regclass, handler regprocedure, older record, newer record) → json */
Datum
replication_plugin_call_handler(PG_FUNCTION_ARGS)
{
	Relation	rel = argument_table(PG_GETARG_OID(0), AccessShareLock);
	TupleTableSlot *result = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	TupleTableSlot *older = slot_of_record(rel, PG_GETARG_DATUM(2));
	TupleTableSlot *newer = slot_of_record(rel, PG_GETARG_DATUM(3));
	OwnerContext saved;
	Datum		json;

	if (!has_privs_of_role(GetUserId(), rel->rd_rel->relowner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(rel));
	saved = resolve_as_owner(rel, true);
	resolve_check_handler(rel, PG_GETARG_OID(1));
	row_generate(rel, older);
	row_generate(rel, newer);
	resolve_call_handler(rel, PG_GETARG_OID(1), older, newer, result);
	row_generate(rel, result);
	json = DirectFunctionCall1(row_to_json, record_of_slot(rel, result));
	as_owner_end(saved);
	ExecDropSingleTupleTableSlot(result);
	ExecDropSingleTupleTableSlot(older);
	ExecDropSingleTupleTableSlot(newer);
	table_close(rel, AccessShareLock);
	PG_RETURN_DATUM(json);
}

/* export_states(relation regclass, since bigint) → setof jsonb */
Datum
replication_plugin_export_states(PG_FUNCTION_ARGS)
{
	Relation	rel = open_readable(PG_GETARG_OID(0));
	OwnerContext saved;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	/* reading keys runs checks of the owner's types */
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	state_export(rel, (uint64) PG_GETARG_INT64(1), (ReturnSetInfo *) fcinfo->resultinfo);
	as_owner_end(saved);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* import_state(relation regclass, state jsonb) → void */
Datum
replication_plugin_import_state(PG_FUNCTION_ARGS)
{
	Relation	rel = argument_table(PG_GETARG_OID(0), RowExclusiveLock);
	OwnerContext saved = as_owner_begin_code(rel->rd_rel->relowner);

	state_import(rel, PG_GETARG_JSONB_P(1));
	as_owner_end(saved);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* check_merge(relation regclass, column_name text, merge text) → void */
Datum
replication_plugin_check_merge(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *column = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *merge = text_to_cstring(PG_GETARG_TEXT_PP(2));
	AttrNumber	attnum = get_attnum(relid, column);
	MergeKind	kind;
	char	   *reason;

	if (attnum <= InvalidAttrNumber || !merge_kind_parse(merge, &kind))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("no such column \"%s\", or merge \"%s\"", column, merge)));
	reason = merge_check_type(kind, get_atttype(relid, attnum));
	if (reason)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" cannot merge as %s: %s", column, merge, reason)));
	PG_RETURN_VOID();
}

/*
 * state_forgettable(state bytea, live boolean, stored_at timestamptz, stored_by integer, seen text)
 * → boolean
 */
Datum
replication_plugin_state_forgettable(PG_FUNCTION_ARGS)
{
	Version		self = {PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_INT32(3)};
	Frontier   *seen = frontier_from_text(text_to_cstring(PG_GETARG_TEXT_PP(4)));

	if (TIMESTAMP_NOT_FINITE(self.ts))
		self = VERSION_OLDEST;
	PG_RETURN_BOOL(seen &&
				   row_state_forgettable(PG_GETARG_BYTEA_PP(0), PG_GETARG_BOOL(1), self, seen));
}
