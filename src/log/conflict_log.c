/*
 * conflict_log.c
 *		Records writes that lost a conflict or replaced a concurrent write.
 *
 * Every conflict is counted (conflict_count.c). Rows of conflict_log are inserted directly, at most
 * setting_conflict_log_rate per second; the rate is checked before a row is prepared. Both are part
 * of the applying transaction, so a conflict is recorded exactly as often as the write is applied.
 *
 * An aborted transaction returns what its rows took from the rate, so that applying it again does
 * not consume the rate twice.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/fault_point.h"
#include "base/settings.h"
#include "base/token_bucket.h"
#include "catalog/as_owner.h"
#include "catalog/names.h"
#include "log/conflict_count.h"
#include "log/conflict_log.h"
#include "store/row_json.h"

/* Columns of conflict_log, in order. */
enum
{
	COL_DETECTED_AT, COL_RELID, COL_TABLE_NAME, COL_TYPE, COL_RESOLUTION, COL_ROW_KEY,
	COL_LOCAL_ROW, COL_LOCAL_ORIGIN, COL_LOCAL_TS, COL_REMOTE_ROW, COL_REMOTE_ORIGIN,
	COL_REMOTE_TS, COL_CONCURRENT, COL_POLICY, COL_DETAIL, N_COLS
};

/* Number of rows that this process may still log. */
static TokenBucket bucket;

/* The part of it that the running transaction has taken. */
static int64 taken = 0;

/* ---------- the rate ---------- */

/*
 * Returns true if a row is to be written. The stop of a link is always logged, as it occurs once.
 */
static bool
take_row(const Conflict *c)
{
	if (c->resolution == RESOLUTION_STOP || setting_conflict_log_rate < 0)
		return true;
	if (setting_conflict_log_rate == 0 ||
		!token_bucket_take(&bucket, setting_conflict_log_rate, moment_now()))
		return false;
	taken++;
	return true;
}

/* ---------- rows ---------- */

/* Sets the version of one side; an unknown version stays null. */
static void
set_version(Datum *values, bool *nulls, Version version, int col_origin, int col_ts)
{
	if (version_is_oldest(version))
		return;
	values[col_origin] = Int32GetDatum(version.node);
	values[col_ts] = TimestampTzGetDatum(version.ts);
	nulls[col_origin] = nulls[col_ts] = false;
}

/* Returns true if the type of a column is not built in. */
static bool
has_users_types(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->atttypid >= FirstNormalObjectId)
			return true;
	}
	return false;
}

/*
 * Sets key and rows. Types may have casts to json that are functions of users. Like all code that
 * belongs to the table, these run as its owner.
 */
static void
set_rows(Datum *values, bool *nulls, const Conflict *c)
{
	TupleTableSlot *key_row = c->key_row	  ? c->key_row
							  : c->remote_row ? c->remote_row
											  : c->local_row;
	OwnerContext saved = has_users_types(c->rel) ? as_owner_begin_code(c->rel->rd_rel->relowner) :
		as_owner_begin(c->rel->rd_rel->relowner);

	if (key_row)
		nulls[COL_ROW_KEY] = !row_json_key(c->rel, key_row, &values[COL_ROW_KEY]);
	if (c->local_row)
		values[COL_LOCAL_ROW] = row_json(c->local_row, NULL);
	if (c->remote_row)
		values[COL_REMOTE_ROW] = row_json(c->remote_row, c->remote_present);
	nulls[COL_LOCAL_ROW] = !c->local_row;
	nulls[COL_REMOTE_ROW] = !c->remote_row;
	as_owner_end(saved);
}

/*
 * Sets what decided the conflict, and how. If the local row is gone without a trace, it is unknown
 * whether the writer had seen it.
 */
static void
set_decision(Datum *values, bool *nulls, const Conflict *c)
{
	values[COL_CONCURRENT] = BoolGetDatum(c->concurrent);
	nulls[COL_CONCURRENT] = !c->local_row && version_is_oldest(c->local_version);
	values[COL_POLICY] = CStringGetTextDatum(c->policy);
	nulls[COL_POLICY] = false;
	if (c->detail)
	{
		values[COL_DETAIL] = CStringGetTextDatum(c->detail);
		nulls[COL_DETAIL] = false;
	}
}

/* Inserts the row of conflict_log. */
static void
insert_log_row(const Conflict *c)
{
	Relation	log = table_open(extension_relation_oid("conflict_log"), RowExclusiveLock);
	char *table_name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(c->rel)),
												  RelationGetRelationName(c->rel));
	Datum		values[N_COLS];
	bool		nulls[N_COLS];

	memset(nulls, true, sizeof(nulls));
	values[COL_DETECTED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[COL_RELID] = ObjectIdGetDatum(RelationGetRelid(c->rel));
	values[COL_TABLE_NAME] = CStringGetTextDatum(table_name);
	values[COL_TYPE] = CStringGetTextDatum(conflict_type_name(c->type));
	values[COL_RESOLUTION] = CStringGetTextDatum(conflict_resolution_name(c->resolution));
	memset(nulls, false, COL_ROW_KEY * sizeof(bool));
	set_rows(values, nulls, c);
	set_version(values, nulls, c->local_version, COL_LOCAL_ORIGIN, COL_LOCAL_TS);
	set_version(values, nulls, c->remote_version, COL_REMOTE_ORIGIN, COL_REMOTE_TS);
	set_decision(values, nulls, c);
	CatalogTupleInsert(log, heap_form_tuple(RelationGetDescr(log), values, nulls));
	table_close(log, NoLock);
	FAULT_POINT("conflict_logged");
}

/* Writes a row in a memory context that is deleted afterwards. */
static void
log_conflict(const Conflict *c)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "conflict",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	insert_log_row(c);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
conflict_record(const Conflict *c)
{
	bool		logged = take_row(c);

	if (logged)
		log_conflict(c);
	conflict_count_add(RelationGetRelid(c->rel), c->type, c->resolution, logged);
}

void
conflict_before_commit(NodeId provider)
{
	conflict_count_write(provider);
	taken = 0;
}

void
conflict_abort(void)
{
	conflict_count_forget();
	token_bucket_put_back(&bucket, taken);
	taken = 0;
}
