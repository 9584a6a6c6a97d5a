/*
 * state_copy.c
 *		Copies what a new member needs of a mergeable table besides its rows.
 *
 * A row travels as {"key": {"id": "42"}, "siblings": [...], "columns": {"likes": "0a1b..."}}. The
 * columns are the merge states in hex. A sibling is {"node": 1, "ts": 8165..., "plain": false,
 * "deleted": false, "values": {"id": "42", ...}}; without node and ts it has the oldest version.
 * Values are in the types' text form. A delete has just the key.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/full_xid.h"
#include "control/join/state_copy.h"
#include "merge/merge_table.h"
#include "store/row_text.h"

/* ---------- out ---------- */

/* Makes a row that has only a key. */
static TupleTableSlot *
key_row(Relation rel, MergeTable *t, const Datum *key)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);

	memset(slot->tts_isnull, true, RelationGetDescr(rel)->natts * sizeof(bool));
	for (int i = 0; i < t->nkeys; i++)
	{
		slot->tts_values[t->key_attnums[i] - 1] = key[i];
		slot->tts_isnull[t->key_attnums[i] - 1] = false;
	}
	return ExecStoreVirtualTuple(slot);
}

/* Appends the merge states of columns. */
static void
state_copy_append_columns(StringInfo out, Relation rel, const RowState *state)
{
	bool		first = true;

	for (int i = 0; i < state->ncolumns; i++)
	{
		const ColumnState *c = &state->columns[i];

		if (c->attnum > RelationGetDescr(rel)->natts)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a stored row state of table \"%s\" has a column that the table does not have",
							RelationGetRelationName(rel))));
		if (TupleDescAttr(RelationGetDescr(rel), c->attnum - 1)->attisdropped)
			continue;
		appendStringInfoString(out, first ? "" : ",");
		first = false;
		escape_json(out, NameStr(TupleDescAttr(RelationGetDescr(rel), c->attnum - 1)->attname));
		appendStringInfoString(out, ":\"");
		for (int k = 0; k < VARSIZE_ANY_EXHDR(c->state); k++)
			appendStringInfo(out, "%02x", (uint8) VARDATA_ANY(c->state)[k]);
		appendStringInfoChar(out, '"');
	}
}

/* Puts the state of one row into the result. */
static void
put_state(Relation rel, MergeTable *t, const Datum *key, const RowState *state,
		  ReturnSetInfo *result)
{
	const SiblingSet *set = state->set;
	TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	TupleTableSlot *only_key = key_row(rel, t, key);
	StringInfoData buf;
	Datum		value;
	bool		isnull = false;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"key\":{");
	row_text_append(&buf, only_key, t->key_attnums, t->nkeys);
	appendStringInfoString(&buf, "},\"columns\":{");
	state_copy_append_columns(&buf, rel, state);
	appendStringInfoString(&buf, "},\"siblings\":[");
	for (int i = 0; i < set->n; i++)
	{
		const Sibling *s = &set->items[i];

		appendStringInfoString(&buf, i ? ",{" : "{");
		if (!version_is_oldest(s->version))
			appendStringInfo(&buf, "\"node\":%d,\"ts\":" INT64_FORMAT ",", s->version.node,
							 s->version.ts);
		appendStringInfo(&buf, "\"plain\":%s,\"deleted\":%s,\"values\":{",
						 s->plain ? "true" : "false", s->deleted ? "true" : "false");
		if (!s->deleted)
			row_decode(t->codec, s, row);
		row_text_append(&buf, s->deleted ? only_key : row, t->key_attnums,
						s->deleted ? t->nkeys : 0);
		appendStringInfoString(&buf, "}}");
	}
	appendStringInfoString(&buf, "]}");
	value = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(only_key);
}

/* Exports rows that were written recently and have no stored state. */
static void
export_recent(Relation rel, MergeTable *t, uint64 since, ReturnSetInfo *result,
			  MemoryContext context)
{
	TupleTableSlot *row = table_slot_create(rel, NULL);
	TableScanDesc scan = begin_table_scan(rel, GetActiveSnapshot());

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		MemoryContext old;
		Datum		key[INDEX_MAX_KEYS];
		RowState	found;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (full_xid_of(DatumGetTransactionId(
				slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull))) < since)
			continue;
		old = MemoryContextSwitchTo(context);
		merge_table_key(t, row, key);
		(void) row_state_visible(t->keys, key, GetActiveSnapshot(), &found);
		if (found.set->n == 0)
		{
			sibling_add(found.set,
						row_sibling(t->codec, merge_table_shown_version(t, key, row, VERSION_SELF),
									row));
			found.set->items[0].plain = t->policy.young;
			put_state(rel, t, key, &found, result);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
}

void
state_export(Relation rel, uint64 since, ReturnSetInfo *result)
{
	MergeTable *t = merge_table_open(rel);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "state export", ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;

	foreach(lc, row_state_keys(RelationGetRelid(rel), GetActiveSnapshot(), 0))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Datum		key[INDEX_MAX_KEYS];
		RowState	found;

		if (tombstone_key_values(t->keys, lfirst(lc), key) &&
			row_state_visible(t->keys, key, GetActiveSnapshot(), &found))
			put_state(rel, t, key, &found, result);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	export_recent(rel, t, since, result, context);
	MemoryContextDelete(context);
}

/* ---------- in ---------- */

/* Reads hex digits into a bytea. */
static bytea *
read_hex(const JsonbValue *v)
{
	bytea	   *result = palloc(VARHDRSZ + v->val.string.len / 2);
	int			n = hex_decode(v->val.string.val, v->val.string.len, VARDATA(result));

	SET_VARSIZE(result, VARHDRSZ + n);	/* there may be spaces between the digits */
	return result;
}

/* Reads the merge states of columns. Returns their number. */
static int
state_copy_read_columns(Relation rel, JsonbContainer *object, ColumnState **columns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			n = 0;

	*columns = palloc(Max(desc->natts, 1) * sizeof(ColumnState));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		JsonbValue *v = att->attisdropped ? NULL : json_field(object, NameStr(att->attname));

		if (v && v->type == jbvString)
			(*columns)[n++] = (ColumnState) {i + 1, read_hex(v)};
	}
	return n;
}

/* Reads the siblings. */
static SiblingSet *
read_siblings(Relation rel, MergeTable *t, JsonbContainer *array)
{
	SiblingSet *set = sibling_set_create();

	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbContainer *object = json_object_in(array, i);
		bool		deleted = json_truth(object, "deleted");
		TupleTableSlot *row = row_text_read(rel, json_object_at(object, "values"));
		Sibling		s = row_sibling(t->codec, json_version(object), deleted ? NULL : row);

		s.plain = json_truth(object, "plain");
		sibling_add(set, s);
		ExecDropSingleTupleTableSlot(row);
	}
	return set;
}

void
state_import(Relation rel, Jsonb *state)
{
	MergeTable *t = merge_table_open(rel);
	JsonbContainer *root = json_root(state);
	TupleTableSlot *row = row_text_read(rel, json_object_at(root, "key"));
	SiblingSet *set = read_siblings(rel, t, json_array_at(root, "siblings"));
	RowState	found;
	ColumnState *columns;
	int			n = state_copy_read_columns(rel, json_object_at(root, "columns"), &columns);
	Datum		key[INDEX_MAX_KEYS];

	row_text_key(row, t->key_attnums, t->nkeys, key);
	row_state_find(t->keys, key, VERSION_SELF, &found);
	(void) row_state_store(t->keys, key, &found, set, columns, n);
	ExecDropSingleTupleTableSlot(row);
}
