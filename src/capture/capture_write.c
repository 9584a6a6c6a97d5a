/*
 * capture_write.c
 *		The trigger on mergeable tables: makes each local write an operation with its context.
 *
 * capture_write fires AFTER INSERT OR UPDATE OR DELETE of a row. It sends the write as a logical
 * message with its context (which siblings it replaces), and stores the state of the row unless the
 * row alone implies it. An update of the key is a delete of the old key and a write of the new one.
 *
 * The changes of such a table's heap are not sent. The trigger always fires, except when a link
 * worker writes, or when rows are copied. The heap row is written before the state is read, because
 * it serves as the lock of both (row_state.h).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/fault_point.h"
#include "capture/capture.h"
#include "capture/causal_context.h"
#include "capture/own_commit.h"
#include "catalog/as_owner.h"
#include "catalog/message_seal.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "merge/merge_columns.h"
#include "shared/origin_map.h"
#include "shared/requirement.h"
#include "shared/seen.h"
#include "store/capture_note.h"
#include "store/row_version.h"
#include "wire/wire.h"

PG_FUNCTION_INFO_V1(replication_plugin_capture_write);

/* What a trigger call site remembers across the rows of one statement. */
typedef struct WriteState
{
	Oid			relid;
	MergeTable *table;
} WriteState;

/* Returns the description of a table, which is built at the first row of a statement. */
static MergeTable *
capture_write_table_of(FunctionCallInfo fcinfo, Relation rel)
{
	WriteState *state = fcinfo->flinfo->fn_extra;
	MemoryContext old;

	if (state && state->relid == RelationGetRelid(rel))
		return state->table;
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	state = palloc0(sizeof(WriteState));
	state->relid = RelationGetRelid(rel);
	state->table = merge_table_open(rel);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = state;
	return state->table;
}

/* Returns true if two rows have the same bytes in all key columns. */
static bool
capture_write_same_key(MergeTable *t, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int i = 0; i < t->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(a->tts_tupleDescriptor, t->key_attnums[i] - 1);
		bool		na,
					nb;
		Datum		da = slot_getattr(a, att->attnum, &na);
		Datum		db = slot_getattr(b, att->attnum, &nb);

		if (!datum_image_eq(da, db, att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* Returns the current seen vector of this node, in memory that the next call reuses. */
static const Frontier *
current_seen(void)
{
	static Frontier *seen = NULL;
	static uint64 generation = 0;
	uint64		now = seen_generation();
	MemoryContext old;

	if (seen && generation == now)
		return seen;
	if (seen)
		frontier_free(seen);
	seen = NULL;
	old = MemoryContextSwitchTo(TopMemoryContext);
	seen = seen_through();
	MemoryContextSwitchTo(old);
	generation = now;
	return seen;
}

/* Raises the error that a context has versions that have not arrived on this node yet. */
static void
refuse_context(Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("this node does not have all that the causal context for table \"%s\" was read from yet",
					RelationGetRelationName(rel)),
			 errhint("Try again when it has arrived, or write on the node that was read from.")));
}

/* Sends the write: its context, and the row, or the key if the row is deleted. */
static void
send_write(MergeTable *t, Relation rel, const WriteContext *context, const MergedColumns *merged,
		   const Datum *key, TupleTableSlot *row)
{
	WireWrite	m = {.relid = RelationGetRelid(rel),.context = *context,.deleted = row == NULL,
		.nmerges = row ? merged->n : 0,.merges = merged->ops
	};
	StringInfoData buf,
				encoded;

	initStringInfo(&buf);
	wire_write_write_head(&buf, &m);
	if (row)
		row_encode(t->codec, row, &buf);
	else
	{
		initStringInfo(&encoded);
		(void) tombstone_key_bytes(t->keys, key, &encoded);
		appendBinaryStringInfo(&buf, encoded.data + VARHDRSZ, encoded.len - VARHDRSZ);
	}
	message_emit(&buf);
}

/*
 * Raises the error that a write with a context would add one more sibling to a row that has many.
 */
static void
refuse_more_siblings(Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a row of table \"%s\" has %d concurrent values, and this write would add one more", RelationGetRelationName(rel), SIBLINGS_MOST),
			 errhint("Read the row and its context anew, and write with that: then the write replaces them. Or replace all by one with replication_plugin.resolve().")));
}

/*
 * Captures one write of a row. old: the row that the write replaced in the table (NULL: none). row:
 * the row that the table has now (NULL: deleted).
 */
static void
capture_write_row(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *old,
				  TupleTableSlot *row)
{
	const Frontier *seen = current_seen();
	RowState	found;
	WriteContext context;
	SiblingSet *set;
	ShownRow	shown = {.row = old};
	MergedColumns merged;
	Version    *read = NULL;
	int			nread = 0;

	if (!causal_context_current(&read, &nread))
		read = NULL;
	do
	{
		int			before;

		set = merge_table_siblings(t, rel, key, old, VERSION_SELF, &found, read != NULL);
		if (read && !causal_context_covered(set, seen, read, nread))
			refuse_context(rel);
		sibling_context(&context, set, seen, read, nread);
		shown.version = set->n > 0 ? set->items[0].version : VERSION_OLDEST;
		merge_columns_local(t, &found, &shown, row, row && !old, seen, &merged);
		before = set->n;
		(void) sibling_merge(set, &context, row_sibling(t->codec, VERSION_SELF, row));
		if (read && set->n > SIBLINGS_MOST && set->n > before)
			refuse_more_siblings(rel);
	} while (!merge_table_store(t, key, &found, set, &merged));
	send_write(t, rel, &context, &merged, key, row);
	if (set->n > 1 || merged.rewrite)
		merge_table_show(t, rel, set, &merged, row);
}

/*
 * Captures the delete of a row's key. If the key has a row again by now, that row is written
 * instead, and replaces the old one.
 */
static void
leave_key(MergeTable *t, Relation rel, TupleTableSlot *old)
{
	TupleTableSlot *live = table_slot_create(rel, NULL);
	Datum		key[INDEX_MAX_KEYS];

	merge_table_key(t, old, key);
	capture_write_row(t, rel, key, old,
					  merge_table_find_row(rel, key, SnapshotSelf, live) ? live : NULL);
	ExecDropSingleTupleTableSlot(live);
}

/* Captures a new row, or a row that replaces old. */
static void
capture_write_put_row(MergeTable *t, Relation rel, TupleTableSlot *old, TupleTableSlot *row)
{
	Datum		key[INDEX_MAX_KEYS];

	merge_table_key(t, row, key);
	capture_write_row(t, rel, key, old, row);
}

/* Makes operations of the change for which a trigger was fired. */
static void
capture_write_capture(MergeTable *t, TriggerData *trigger)
{
	Relation	rel = trigger->tg_relation;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		capture_write_put_row(t, rel, NULL, trigger->tg_trigslot);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		leave_key(t, rel, trigger->tg_trigslot);
	else if (capture_write_same_key(t, trigger->tg_trigslot, trigger->tg_newslot))
		capture_write_put_row(t, rel, trigger->tg_trigslot, trigger->tg_newslot);
	else
	{
		leave_key(t, rel, trigger->tg_trigslot);
		capture_write_put_row(t, rel, NULL, trigger->tg_newslot);
		capture_note(RelationGetRelid(rel), -1);	/* two messages for one change */
	}
}

/*
 * capture_write() → trigger: makes a local write of a mergeable table an operation with its
 * context.
 */
Datum
replication_plugin_capture_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	MergeTable *t;
	OwnerContext saved;
	MemoryContext context,
				old;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_write() is called by row triggers only")));
	requirement_check();
	origin_map_ensure_loaded();
	if (origin_map_node(replorigin_session_origin) == ORIGIN_NODE_REPAIR)
		return PointerGetDatum(NULL);
	context = AllocSetContextCreate(CurrentMemoryContext, "capture", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	/* stored siblings of the row are read as the owner, whoever writes */
	t = capture_write_table_of(fcinfo, trigger->tg_relation);
	saved = row_codec_runs_code(t->codec)
				? as_owner_begin_code(trigger->tg_relation->rd_rel->relowner)
				: as_owner_begin(trigger->tg_relation->rd_rel->relowner);
	capture_write_capture(t, trigger);
	as_owner_end(saved);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	FAULT_POINT("write_captured");
	return PointerGetDatum(NULL);
}

void
capture_write_delete(MergeTable *t, Relation rel, TupleTableSlot *row)
{
	Datum		key[INDEX_MAX_KEYS];

	merge_table_key(t, row, key);
	capture_write_row(t, rel, key, row, NULL);
}

void
capture_write_delete_parked(MergeTable *t, Relation rel, const Datum *key)
{
	capture_write_row(t, rel, key, NULL, NULL);
	capture_note(RelationGetRelid(rel), -1);	/* a message without a change */
	own_commit_note_message();
}
