/*
 * conflict_log.c
 *		The record of writes that lost, or replaced a concurrent one.
 *
 * Rows go to conflict_log by direct insertion; counters to conflict_count, where
 * each link has rows of its own, so that no link worker ever waits for another.
 * Both are part of the applying transaction: a conflict is recorded exactly as
 * often as the write is applied.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog/names.h"
#include "catalog/table_info.h"
#include "conflict/conflict_log.h"

/* Columns of conflict_log, in order. */
enum
{
	COL_DETECTED_AT, COL_RELID, COL_TABLE_NAME, COL_TYPE, COL_RESOLUTION, COL_ROW_KEY,
	COL_LOCAL_ROW, COL_LOCAL_ORIGIN, COL_LOCAL_TS, COL_REMOTE_ROW, COL_REMOTE_ORIGIN,
	COL_REMOTE_TS, COL_DETAIL, N_COLS
};

static const char *const type_names[] = {
	[CONFLICT_INSERT_EXISTS] = "insert_exists",
	[CONFLICT_UPDATE_ORIGIN_DIFFERS] = "update_origin_differs",
	[CONFLICT_UPDATE_EXISTS] = "update_exists",
	[CONFLICT_UPDATE_MISSING] = "update_missing",
	[CONFLICT_UPDATE_DELETED] = "update_deleted",
	[CONFLICT_DELETE_ORIGIN_DIFFERS] = "delete_origin_differs",
	[CONFLICT_DELETE_MISSING] = "delete_missing",
	[CONFLICT_MULTIPLE_UNIQUE] = "multiple_unique_conflicts",
};

static const char *const resolution_names[] = {
	[RESOLUTION_APPLY_REMOTE] = "apply_remote",
	[RESOLUTION_KEEP_LOCAL] = "keep_local",
	[RESOLUTION_STOP] = "stop",
};

const char *
conflict_type_name(ConflictType type)
{
	return type_names[type];
}

/* Turns a row into jsonb. */
static Datum
row_to_jsonb(TupleTableSlot *slot)
{
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);
	Datum		composite = heap_copy_tuple_as_datum(tuple, slot->tts_tupleDescriptor);
	Datum		json = DirectFunctionCall1(row_to_json, composite);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(json)));
}

/* Turns the key columns of a row into jsonb; returns false if the table has no key. */
static bool
key_to_jsonb(Relation rel, TupleTableSlot *slot, Datum *result)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(rel, &attnums);
	Datum		row,
			   *names;

	if (n == 0)
		return false;
	row = row_to_jsonb(slot);
	names = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
		names[i] = CStringGetTextDatum(NameStr(TupleDescAttr(RelationGetDescr(rel),
															 attnums[i] - 1)->attname));
	{
		JsonbParseState *state = NULL;
		JsonbValue *v;

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		for (int i = 0; i < n; i++)
		{
			text	   *name = DatumGetTextPP(names[i]);
			JsonbValue	key = {.type = jbvString};
			JsonbValue *found = getKeyJsonValueFromContainer(&DatumGetJsonbP(row)->root,
															 VARDATA_ANY(name),
															 VARSIZE_ANY_EXHDR(name), NULL);

			if (!found)
				continue;
			key.val.string.val = VARDATA_ANY(name);
			key.val.string.len = VARSIZE_ANY_EXHDR(name);
			pushJsonbValue(&state, WJB_KEY, &key);
			pushJsonbValue(&state, WJB_VALUE, found);
		}
		v = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		*result = JsonbPGetDatum(JsonbValueToJsonb(v));
	}
	return true;
}

/* Sets the columns of one side; absent rows and unknown versions stay null. */
static void
set_side(Datum *values, bool *nulls, TupleTableSlot *row, Version version,
		 int col_row, int col_origin, int col_ts)
{
	if (row)
	{
		values[col_row] = row_to_jsonb(row);
		nulls[col_row] = false;
	}
	if (!version_is_oldest(version))
	{
		values[col_origin] = Int32GetDatum(version.node);
		values[col_ts] = TimestampTzGetDatum(version.ts);
		nulls[col_origin] = nulls[col_ts] = false;
	}
}

/* Inserts the row of conflict_log. */
static void
insert_log_row(const Conflict *c, char *table_name)
{
	Relation	log = table_open(extension_relation_oid("conflict_log"), RowExclusiveLock);
	Datum		values[N_COLS];
	bool		nulls[N_COLS];
	TupleTableSlot *key_row = c->key_row ? c->key_row : c->remote_row ? c->remote_row : c->local_row;

	memset(nulls, true, sizeof(nulls));
	values[COL_DETECTED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[COL_RELID] = ObjectIdGetDatum(RelationGetRelid(c->rel));
	values[COL_TABLE_NAME] = CStringGetTextDatum(table_name);
	values[COL_TYPE] = CStringGetTextDatum(type_names[c->type]);
	values[COL_RESOLUTION] = CStringGetTextDatum(resolution_names[c->resolution]);
	memset(nulls, false, COL_ROW_KEY * sizeof(bool));
	if (key_row && key_to_jsonb(c->rel, key_row, &values[COL_ROW_KEY]))
		nulls[COL_ROW_KEY] = false;
	set_side(values, nulls, c->local_row, c->local_version,
			 COL_LOCAL_ROW, COL_LOCAL_ORIGIN, COL_LOCAL_TS);
	set_side(values, nulls, c->remote_row, c->remote_version,
			 COL_REMOTE_ROW, COL_REMOTE_ORIGIN, COL_REMOTE_TS);
	if (c->detail)
	{
		values[COL_DETAIL] = CStringGetTextDatum(c->detail);
		nulls[COL_DETAIL] = false;
	}
	CatalogTupleInsert(log, heap_form_tuple(RelationGetDescr(log), values, nulls));
	table_close(log, RowExclusiveLock);
}

/* Adds one to this link's counter. */
static void
count(NodeId provider, const Conflict *c, char *table_name)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[5] = {
		Int32GetDatum(provider), ObjectIdGetDatum(RelationGetRelid(c->rel)),
		CStringGetTextDatum(table_name), CStringGetTextDatum(type_names[c->type]),
		CStringGetTextDatum(resolution_names[c->resolution])
	};
	static Oid	types[5] = {INT4OID, OIDOID, TEXTOID, TEXTOID, TEXTOID};

	SPI_connect();
	if (!plan)
	{
		plan = SPI_prepare("INSERT INTO " EXTENSION_SCHEMA ".conflict_count AS c"
						   " VALUES ($1, $2, $3, $4, $5, 1, now())"
						   " ON CONFLICT (provider, relid, conflict_type, resolution)"
						   " DO UPDATE SET n = c.n + 1, table_name = excluded.table_name,"
						   " last_at = excluded.last_at", 5, types);
		if (!plan || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the conflict counter");
	}
	if (SPI_execute_plan(plan, values, NULL, false, 0) < 0)
		elog(ERROR, "could not count a conflict");
	SPI_finish();
}

void
conflict_record(NodeId provider, const Conflict *c)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "conflict",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	char	   *table_name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(c->rel)),
														RelationGetRelationName(c->rel));

	insert_log_row(c, table_name);
	count(provider, c, table_name);
	CommandCounterIncrement();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
