/*
 * capture.c
 *		The capture triggers: write tombstones, and refuse changes that cannot be replicated.
 *
 * The trigger functions are:
 *
 * - capture_row: AFTER DELETE, and AFTER UPDATE OF the key columns. The old key gets a tombstone.
 *   For a changed key, the tombstone is also sent to other nodes as the delete. The WAL record of a
 *   deleted row contains the key, so the tombstone of a delete is not decoded. No tombstone is
 *   written if the key is in use again: triggers run at the end of the statement, which may have
 *   deleted and then put a key (keys that move over one another), and a tombstone after the put
 *   would delete the row on other nodes.
 * - capture_truncate: BEFORE TRUNCATE. Every existing row, including parked rows, gets a tombstone.
 *   A TRUNCATE therefore deletes the rows that this node had seen. Each row of a mergeable table
 *   gets an operation instead (capture_write.c).
 * - capture_no_key: AFTER UPDATE OR DELETE of a row of a table whose rows cannot be identified. The
 *   change is refused, because the other nodes could not apply it.
 *
 * The triggers always fire, even with session_replication_role = replica. Link workers do not run
 * them, because applying writes the tombstones itself.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/fault_point.h"
#include "capture/capture.h"
#include "catalog/as_owner.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "merge/merge_table.h"
#include "shared/requirement.h"
#include "store/capture_note.h"
#include "store/key_search.h"
#include "store/parked.h"
#include "store/row_estate.h"
#include "store/tombstone.h"

PG_FUNCTION_INFO_V1(replication_plugin_capture_row);
PG_FUNCTION_INFO_V1(replication_plugin_capture_truncate);
PG_FUNCTION_INFO_V1(replication_plugin_capture_no_key);

/* What a trigger call site remembers across the rows of one statement. */
typedef struct CaptureState
{
	Oid			relid;			/* table of the trigger */
	TombstoneKeys *keys;
	AttrNumber *attnums;		/* of the key columns in that table */
	Oid			owner;			/* of the root, as whom keys are hashed */
	bool		wal_has_key;	/* the WAL of a delete has the key, which is sent from there */
} CaptureState;

/*
 * Returns a hint for a table with a deferrable primary key: to add a unique index that is not
 * deferrable. Returns NULL if the table has no such key.
 */
static char *
deferrable_key_hint(Relation root)
{
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(root)),
												   RelationGetRelationName(root));
	char	   *hint = NULL;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(root))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		StringInfoData columns;

		initStringInfo(&columns);
		for (int i = 0; index->rd_index->indisprimary && !index->rd_index->indimmediate &&
						i < index->rd_index->indnkeyatts;
			 i++)
			appendStringInfo(&columns, "%s%s", i ? ", " : "",
							 quote_identifier(
								 NameStr(TupleDescAttr(RelationGetDescr(root),
													   index->rd_index->indkey.values[i] - 1)
											 ->attname)));
		if (columns.len > 0)
		{
			const char *name =
				quote_identifier(ChooseRelationName(RelationGetRelationName(root), NULL, "identity",
													RelationGetNamespace(root), false));

			hint = psprintf("Its primary key is deferrable, and rows cannot be told apart by such a key. On all nodes: CREATE UNIQUE INDEX %s ON %s (%s);"
							" ALTER TABLE %s REPLICA IDENTITY USING INDEX %s. Or set REPLICA IDENTITY FULL.",
							name, table, columns.data, table, name);
		}
		index_close(index, NoLock);
	}
	return hint;
}

/* Raises an error for a change of a row that other nodes could not identify. */
static void
refuse_no_key(Relation rel, const char *what)
{
	Relation	root = table_open(table_root(RelationGetRelid(rel)), AccessShareLock);
	char	   *deferrable = deferrable_key_hint(root);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot %s table \"%s\" because it is replicated and its rows have no key",
					what, RelationGetRelationName(rel)),
			 deferrable ? errhint("%s", deferrable) :
			 errhint("Add a primary key, or set REPLICA IDENTITY FULL, or take the table out with replication_plugin.exclude_table().")));
}

/* Returns the state for a table, which is built at the first row of a statement. */
static CaptureState *
capture_state(FunctionCallInfo fcinfo, Relation rel)
{
	CaptureState *state = fcinfo->flinfo->fn_extra;
	MemoryContext old;
	Relation	root;

	if (state && state->relid == RelationGetRelid(rel))
		return state;
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	state = palloc0(sizeof(CaptureState));
	root = table_open(table_root(RelationGetRelid(rel)), AccessShareLock);
	if (!OidIsValid(table_key_index(root)))
		refuse_no_key(rel, "change");	/* its index was dropped after the trigger was created */
	state->relid = RelationGetRelid(rel);
	state->keys = tombstone_keys(root);
	state->owner = root->rd_rel->relowner;
	(void) table_root_key_attributes(rel, root, &state->attnums);
	state->wal_has_key = table_logs_columns(rel, state->attnums, tombstone_nkeys(state->keys));
	table_close(root, AccessShareLock);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* Sets key to the key values of a row. */
static void
key_values(CaptureState *state, TupleTableSlot *slot, Datum *key)
{
	for (int i = 0; i < tombstone_nkeys(state->keys); i++)
	{
		bool		isnull;

		key[i] = slot_getattr(slot, state->attnums[i], &isnull);
		if (isnull)
			elog(ERROR, "null in a key column");
	}
}

/* Returns true if two rows have the same bytes in all key columns. */
static bool
capture_same_key(CaptureState *state, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int i = 0; i < tombstone_nkeys(state->keys); i++)
	{
		Form_pg_attribute att = TupleDescAttr(a->tts_tupleDescriptor, state->attnums[i] - 1);
		bool		na,
					nb;
		Datum		da = slot_getattr(a, state->attnums[i], &na);
		Datum		db = slot_getattr(b, state->attnums[i], &nb);

		if (!datum_image_eq(da, db, att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/*
 * Puts a key into the order of an index's columns. Returns false if the index has other columns
 * than the key of the tombstones.
 */
static bool
order_key(CaptureState *state, Oid indexoid, const Datum *key, Datum *ordered)
{
	Relation	index = index_open(indexoid, AccessShareLock);
	int			n = IndexRelationGetNumberOfKeyAttributes(index);
	int			i = 0;

	for (; i < n; i++)
	{
		int			k = 0;

		while (k < tombstone_nkeys(state->keys) &&
			   state->attnums[k] != index->rd_index->indkey.values[i])
			k++;
		if (k == tombstone_nkeys(state->keys))
			break;
		ordered[i] = key[k];
	}
	index_close(index, NoLock);
	return i == n;
}

/* Returns true if the table currently has a row of the key. */
static bool
key_is_live(CaptureState *state, Relation rel, const Datum *key)
{
	Oid			indexoid = table_key_index(rel);
	Datum		ordered[INDEX_MAX_KEYS];
	TupleTableSlot *slot;
	bool		live;

	if (!OidIsValid(indexoid) || !order_key(state, indexoid, key, ordered))
		return false;
	slot = table_slot_create(rel, NULL);
	live = key_search_row(rel, indexoid, ordered, SnapshotSelf, slot);
	ExecDropSingleTupleTableSlot(slot);
	return live;
}

/*
 * Writes the tombstone of a key, unless the key has a row. A key of a type that is not built in is
 * handled as the owner.
 */
static void
capture_remember(CaptureState *state, Relation rel, const Datum *key, bool send)
{
	bool		users = tombstone_users_types(state->keys);
	OwnerContext saved = {0};

	if (users)
		saved = as_owner_begin_code(state->owner);
	if (!key_is_live(state, rel, key))
		tombstone_write(state->keys, key, send);
	if (users)
		as_owner_end(saved);
}

/* capture_row() → trigger: writes the tombstone of a deleted or replaced key. */
Datum
replication_plugin_capture_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CaptureState *state;
	MemoryContext context,
				old;
	Datum		key[INDEX_MAX_KEYS];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_row() is called by row triggers only")));
	requirement_check();
	state = capture_state(fcinfo, trigger->tg_relation);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		capture_same_key(state, trigger->tg_trigslot, trigger->tg_newslot))
		return PointerGetDatum(NULL);
	context = AllocSetContextCreate(CurrentMemoryContext, "capture", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	key_values(state, trigger->tg_trigslot, key);
	capture_remember(state, trigger->tg_relation, key,
			 !(TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && state->wal_has_key));
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) || state->wal_has_key)
		capture_note(state->relid, 1);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	FAULT_POINT("delete_captured");
	return PointerGetDatum(NULL);
}

/* Returns true if a parked row of a partitioned table belongs to this partition. */
static bool
is_of_partition(Relation leaf, Relation root, const ParkedEntry *e)
{
	TupleConversionMap *map =
		convert_tuples_by_name(RelationGetDescr(root), RelationGetDescr(leaf));
	TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(root), &TTSOpsVirtual);
	TupleTableSlot *here = MakeSingleTupleTableSlot(RelationGetDescr(leaf), &TTSOpsVirtual);
	ResultRelInfo *rri;
	EState	   *estate = row_estate(leaf, &rri);
	bool		result;

	row_decode(row_codec(root), &e->parked.row, row);
	result = ExecPartitionCheck(rri, map ? execute_attr_map_slot(map->attrMap, row, here) : row,
								estate, false);
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(here);
	FreeExecutorState(estate);
	return result;
}

/*
 * Deletes the parked rows of a table, so that they do not come back. t: of a mergeable table, else
 * NULL.
 */
static void
delete_parked(CaptureState *state, Relation rel, MergeTable *t)
{
	Relation	root = table_open(tombstone_relid(state->keys), AccessShareLock);
	ListCell   *lc;

	foreach(lc, parked_list(RelationGetRelid(root), GetActiveSnapshot(), true))
	{
		Datum		key[INDEX_MAX_KEYS];

		if (!tombstone_key_values(state->keys, ((ParkedEntry *) lfirst(lc))->key, key) ||
			(rel->rd_rel->relispartition && !is_of_partition(rel, root, lfirst(lc))))
			continue;
		if (t)
			capture_write_delete_parked(t, rel, key);
		else
			tombstone_write(state->keys, key, true);
	}
	table_close(root, NoLock);
}

/* capture_truncate() → trigger: writes a tombstone for every row of the table. */
Datum
replication_plugin_capture_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel;
	CaptureState *state;
	TupleTableSlot *slot;
	TableScanDesc scan;
	MergeTable *t;
	OwnerContext saved;
	MemoryContext context,
				old;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_truncate() is called by truncate triggers only")));
	requirement_check();
	rel = trigger->tg_relation;
	state = capture_state(fcinfo, rel);
	t = !rel->rd_rel->relispartition && table_is_mergeable(rel) ? merge_table_open(rel) : NULL;
	context = AllocSetContextCreate(CurrentMemoryContext, "capture", ALLOCSET_DEFAULT_SIZES);
	slot = table_slot_create(rel, NULL);
	PushActiveSnapshot(GetLatestSnapshot());
	scan = begin_table_scan(rel, GetActiveSnapshot());
	tombstone_begin_transaction();
	saved = as_owner_begin_code(state->owner);
	PG_TRY();
	{
		int64		nrows = 0;

		while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			Datum		key[INDEX_MAX_KEYS];

			CHECK_FOR_INTERRUPTS();
			old = MemoryContextSwitchTo(context);
			if (t)
				capture_write_delete(t, rel, slot);
			else
			{
				key_values(state, slot, key);
				tombstone_write(state->keys, key, true);
			}
			MemoryContextSwitchTo(old);
			MemoryContextReset(context);
			nrows++;
		}
		delete_parked(state, rel, t);
		tombstone_end_transaction();
		/* each of them is a message without a change of the heap */
		capture_note_truncate(state->relid, t ? -nrows : 0);
	}
	PG_CATCH();
	{
		tombstone_abort_transaction();
		PG_RE_THROW();
	}
	PG_END_TRY();
	as_owner_end(saved);
	table_endscan(scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}

/* capture_no_key() → trigger: refuses UPDATE and DELETE of a table without a key. */
Datum
replication_plugin_capture_no_key(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_no_key() is called by triggers only")));
	refuse_no_key(trigger->tg_relation,
				  TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? "update" : "delete from");
	return PointerGetDatum(NULL);
}
