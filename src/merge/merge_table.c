/*
 * merge_table.c
 *		Handles mergeable tables: the siblings of their rows, and what the heap shows of them.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "catalog/as_owner.h"
#include "catalog/table_info.h"
#include "merge/merge_columns.h"
#include "merge/merge_table.h"
#include "store/capture_note.h"
#include "store/key_search.h"
#include "store/parked.h"
#include "store/row_estate.h"
#include "store/row_version.h"

MergeTable *
merge_table_open(Relation rel)
{
	MergeTable *t = palloc0(sizeof(MergeTable));

	table_policy_read(rel, &t->policy);
	t->keys = tombstone_keys(rel);
	t->nkeys = table_key_attributes(rel, &t->key_attnums);
	t->codec = row_codec(rel);
	t->merges = palloc0(Max(t->policy.ncolumns, 1) * sizeof(MergeColumn));
	for (int i = 0; i < t->policy.ncolumns; i++)
	{
		Form_pg_attribute att =
			TupleDescAttr(RelationGetDescr(rel), t->policy.columns[i].attnum - 1);

		merge_column_init(&t->merges[i], t->policy.columns[i].kind, att->atttypid, att->atttypmod,
						  att->attcollation);
	}
	return t;
}

void
merge_table_key(MergeTable *t, TupleTableSlot *row, Datum *key)
{
	for (int i = 0; i < t->nkeys; i++)
	{
		bool		isnull;

		key[i] = slot_getattr(row, t->key_attnums[i], &isnull);
		if (isnull)
			elog(ERROR, "null in a key column");
	}
}

bool
merge_table_find_row(Relation rel, const Datum *key, Snapshot snapshot, TupleTableSlot *slot)
{
	bool		found = key_search_row(rel, table_key_index(rel), key, snapshot, slot);

	if (found)
		ExecMaterializeSlot(slot);
	return found;
}

Version
merge_table_shown_version(MergeTable *t, const Datum *key, TupleTableSlot *row, Version own)
{
	Version		v = row_version_of_slot(row, own);
	bool		isnull;

	if (version_is_oldest(v) && pin_any(tombstone_relid(t->keys)))
		(void) pin_find(t->keys, key,
						DatumGetTransactionId(
							slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull)),
						&v);
	return v;
}

/*
 * Adds a row that was parked before the table became mergeable; it is then the only sibling.
 * Returns false if there is none.
 */
static bool
add_parked(MergeTable *t, const Datum *key, SiblingSet *set)
{
	ParkedRow	parked;

	if (!parked_any(tombstone_relid(t->keys)) || !parked_find(t->keys, key, &parked))
		return false;
	parked.row.plain = t->policy.young;
	sibling_add(set, parked.row);
	return true;
}

/* Adds the tombstone that a key without a row may have from before the table became mergeable. */
static void
add_tombstone(MergeTable *t, const Datum *key, Version own, SiblingSet *set)
{
	Version		deleted;

	if (tombstone_find(t->keys, key, own, &deleted))
		sibling_add(set, (Sibling) {.version = deleted,.deleted = true,.plain = true});
}

SiblingSet *
merge_table_siblings(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *row,
					 Version own, RowState *found, bool rows)
{
	row_state_find(t->keys, key, own, found);
	if (found->set->n > 0)
		return found->set;
	if (row)
	{
		Version		v = merge_table_shown_version(t, key, row, own);
		Sibling		s = rows ? row_sibling(t->codec, v, row) : (Sibling) {.version = v};

		s.plain = t->policy.young;
		sibling_add(found->set, s);
	}
	else if (!add_parked(t, key, found->set) && t->policy.young)
		add_tombstone(t, key, own, found->set);
	return found->set;
}

bool
merge_table_store(MergeTable *t, const Datum *key, const RowState *found, const SiblingSet *set,
				  const MergedColumns *merged)
{
	SiblingSet	nothing = {0};

	return row_state_store(t->keys, key, found,
						   row_state_is_implied(set, t->policy.young) ? &nothing : set,
						   merged->states, merged->n);
}

/* ---------- parked rows ---------- */

bool
merge_table_store_parked(MergeTable *t, const Datum *key, const RowState *found,
						 const SiblingSet *set, MergedColumns *merged, Version shown)
{
	merge_columns_keep(t, shown, merged);
	return row_state_store(t->keys, key, found, set, merged->states, merged->n);
}

void
merge_table_park(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *row, Version own)
{
	ShownRow	shown = {.row = row};
	MergedColumns merged;
	RowState	found;
	SiblingSet *set = merge_table_siblings(t, rel, key, row, own, &found, true);

	shown.version = set->items[0].version;
	merge_columns_values(t, &found, &shown, &merged);
	if (!merge_table_store_parked(t, key, &found, set, &merged, shown.version))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a row of table \"%s\" was written by two transactions at once", RelationGetRelationName(rel))));
}

bool
merge_table_parked(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *result,
				   Version *version)
{
	ShownRow	shown = {0};
	Shown		how;
	MergedColumns merged;
	RowState	found;
	SiblingSet *set = merge_table_siblings(t, rel, key, NULL, VERSION_OLDEST, &found, true);

	if (set->n == 0)
		return false;
	*version = shown.version = set->items[0].version;
	merge_columns_values(t, &found, &shown, &merged);
	return resolve_row(rel, &t->policy, t->codec, set, &merged, result, &how);
}

/* ---------- what the table shows ---------- */

/* Returns true if two rows have the same bytes. */
static bool
same_row(TupleTableSlot *a, TupleTableSlot *b)
{
	slot_getallattrs(a);
	slot_getallattrs(b);
	for (int i = 0; i < a->tts_tupleDescriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(a->tts_tupleDescriptor, i);

		if (att->attisdropped || att->attgenerated)
			continue;
		if (a->tts_isnull[i] != b->tts_isnull[i])
			return false;
		if (!a->tts_isnull[i] &&
			!datum_image_eq(a->tts_values[i], b->tts_values[i], att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* Writes one row of the table. from, to: the old and the new row, or NULL. */
static void
replace_row(Relation rel, TupleTableSlot *from, TupleTableSlot *to)
{
	ResultRelInfo *rri;
	/* without triggers, which have already seen the writes that led to this row */
	EState	   *estate = row_estate(rel, &rri);
	EPQState	epq;
	/* whichever user's session this is */
	OwnerContext saved = as_owner_begin_code(rel->rd_rel->relowner);

	ExecOpenIndices(rri, false);
	init_recheck(&epq, estate);
	if (!from)
		ExecSimpleRelationInsert(rri, estate, to);
	else if (!to)
		ExecSimpleRelationDelete(rri, estate, &epq, from);
	else
		ExecSimpleRelationUpdate(rri, estate, &epq, from, to);
	EvalPlanQualEnd(&epq);
	ExecCloseIndices(rri);
	as_owner_end(saved);
	FreeExecutorState(estate);
	CommandCounterIncrement();
	capture_note(RelationGetRelid(rel), 1);	/* a change without a message */
}

void
merge_table_show(MergeTable *t, Relation rel, const SiblingSet *set, const MergedColumns *merged,
				 TupleTableSlot *row)
{
	TupleTableSlot *result = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	Shown		shown;
	bool		shows = resolve_row(rel, &t->policy, t->codec, set, merged, result, &shown);

	if (shows && !(row && same_row(row, result)))
	{
		TupleTableSlot *to = table_slot_create(rel, NULL);

		ExecCopySlot(to, result);
		replace_row(rel, row, to);
		ExecDropSingleTupleTableSlot(to);
	}
	else if (!shows && row)
		replace_row(rel, row, NULL);
	ExecDropSingleTupleTableSlot(result);
}

/*
 * Does the same for a row that may conflict with others in the form to be shown. The row is parked,
 * and then comes back, or stays parked, like any other parked row.
 */
static void
show_later(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *row)
{
	ParkedRow	parked = {0};
	RowState	now;
	StringInfoData buf;

	merge_table_park(t, rel, key, row, VERSION_SELF);
	row_state_find(t->keys, key, VERSION_SELF, &now);
	parked.version = now.set->items[0].version;
	parked.row = row_sibling(t->codec, parked.version, row);
	initStringInfo(&buf);
	/* the row itself: conflicts have not been checked yet */
	parked.blocked_by = tombstone_key_bytes(t->keys, key, &buf);
	replace_row(rel, row, NULL);
	(void) parked_store(t->keys, key, &parked);
}

/* Makes one row show the result of its siblings. */
static void
show_key(MergeTable *t, Relation rel, const Datum *key, bool contested)
{
	TupleTableSlot *row = table_slot_create(rel, NULL);
	RowState	found;
	ShownRow	shown = {0};
	MergedColumns merged;
	ParkedRow	parked;

	row_state_find(t->keys, key, VERSION_SELF, &found);
	shown.row = merge_table_find_row(rel, key, GetLatestSnapshot(), row) ? row : NULL;
	/* a parked row is computed when it comes back */
	if (found.set->n > 0 && (shown.row || !parked_find(t->keys, key, &parked)))
	{
		shown.version = found.set->items[0].version;
		merge_columns_values(t, &found, &shown, &merged);
		if (contested && shown.row)
			show_later(t, rel, key, row);
		else
			merge_table_show(t, rel, found.set, &merged, shown.row);
	}
	ExecDropSingleTupleTableSlot(row);
}

void
merge_table_show_all(Oid relid)
{
	Relation	rel = table_open(relid, ShareRowExclusiveLock);
	MergeTable *t = merge_table_open(rel);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "show all", ALLOCSET_DEFAULT_SIZES);
	bool		contested = table_is_contested(rel);
	OwnerContext saved;
	ListCell   *lc;

	if (contested)
		parked_lock(relid, true);
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	PushActiveSnapshot(GetLatestSnapshot());
	foreach(lc, row_state_keys(relid, GetActiveSnapshot(), 2))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Datum		key[INDEX_MAX_KEYS];

		if (tombstone_key_values(t->keys, lfirst(lc), key))
			show_key(t, rel, key, contested);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	PopActiveSnapshot();
	as_owner_end(saved);
	MemoryContextDelete(context);
	table_close(rel, NoLock);
}
