/*
 * doubt.c
 *		Checks deferrable constraints of tables without a key at the end of the transaction.
 *
 * Inserting into the index of a deferrable constraint does not check the constraint, but tells
 * whether a conflicting row may exist. In a table with a key that counts as a violation, because
 * the conflicting row can be parked (place.c). Rows of a table without a key cannot be parked.
 * However, the transaction of the provider may have written rows that conflicted for a while
 * (UPDATE ... SET k = k + 1), as the constraint permits.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/context.h"
#include "apply/doubt.h"
#include "base/compat.h"
#include "base/pulse.h"
#include "base/session.h"
#include "catalog/as_owner.h"

typedef struct Doubt
{
	ApplyTarget *target;		/* open until the transaction ends */
	Oid			index;
	ItemPointerData tid;
} Doubt;

void
doubt_note(ApplyContext *cx, ApplyTarget *t, ItemPointer tid, List *indexes)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	ListCell   *lc;

	Assert(cx->active && t->rel && t->nkeys == 0);
	foreach(lc, indexes)
	{
		Doubt	   *d = palloc(sizeof(Doubt));

		*d = (Doubt) {t, lfirst_oid(lc), *tid};
		cx->doubts = lappend(cx->doubts, d);
	}
	MemoryContextSwitchTo(old);
}

/* Fetches the row to which an index entry leads now. Returns false if the row is gone. */
static bool
doubt_fetch(ApplyTarget *t, ItemPointerData tid, TupleTableSlot *slot)
{
	IndexFetchTableData *scan = begin_index_fetch(t->rel);
	bool		again = false;
	bool		found = table_index_fetch_tuple(scan, &tid, SnapshotSelf, slot, &again, NULL);

	table_index_fetch_end(scan);
	return found;
}

/* Checks one index for a row that still exists. */
static void
doubt_check(ApplyTarget *t, int i, ItemPointer tid, TupleTableSlot *slot)
{
	Relation	index = t->rri->ri_IndexRelationDescs[i];
	IndexInfo  *info = t->rri->ri_IndexRelationInfo[i];
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	GetPerTupleExprContext(t->estate)->ecxt_scantuple = slot;
	FormIndexDatum(info, slot, t->estate, values, nulls);
	if (info->ii_ExclusionOps)
		check_exclusion_constraint(t->rel, index, info, tid, values, nulls, t->estate, false);
	else
		(void) index_insert(index, values, nulls, tid, t->rel, UNIQUE_CHECK_EXISTING, false, info);
	ResetPerTupleExprContext(t->estate);
}

void
doubt_check_all(ApplyContext *cx)
{
	ListCell   *lc;

	foreach(lc, cx->doubts)
	{
		Doubt	   *d = lfirst(lc);
		ApplyTarget *t = d->target;
		OwnerContext saved = target_become_owner(t);
		TupleTableSlot *slot = table_slot_create(t->rel, NULL);

		Assert(cx->active && session_in_row());
		pulse_step();
		cx->doubtful = RelationGetRelid(t->rel);
		for (int i = 0; i < t->nindexes; i++)
		{
			if (t->index_oids[i] == d->index && doubt_fetch(t, d->tid, slot))
				doubt_check(t, i, &d->tid, slot);
		}
		ExecDropSingleTupleTableSlot(slot);
		as_owner_end(saved);
	}
	cx->doubts = NIL;
	cx->doubtful = InvalidOid;
}
