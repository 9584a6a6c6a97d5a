/*
 * unique.c
 *		Finds rows that conflict with another row by a unique key or an exclusion constraint.
 *
 * The search is the one that PostgreSQL makes when it checks a constraint (execIndexing.c,
 * nbtinsert.c): a scan of the index under a dirty snapshot, which also shows rows of transactions
 * in progress. It can miss a row that is updated during the scan. Writing the row then violates the
 * constraint, and the transaction is applied again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/unique.h"
#include "base/compat.h"
#include "base/session.h"

/* The search in one index. */
typedef struct Search
{
	ApplyTarget *target;
	Relation	index;
	IndexInfo  *info;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	ScanKeyData keys[INDEX_MAX_KEYS];
} Search;

/* Returns true if a partial index would contain the row; true for other indexes. */
static bool
is_in_index(Search *s, TupleTableSlot *row)
{
	ApplyTarget *t = s->target;

	GetPerTupleExprContext(t->estate)->ecxt_scantuple = row;
	if (!s->info->ii_Predicate)
		return true;
	if (!s->info->ii_PredicateState)
		s->info->ii_PredicateState = ExecPrepareQual(s->info->ii_Predicate, t->estate);
	return ExecQual(s->info->ii_PredicateState, GetPerTupleExprContext(t->estate));
}

/* Prepares one key of the scan. Returns false if no row can conflict. */
static bool
prepare_key(Search *s, int k)
{
	bool		exclusion = s->info->ii_ExclusionOps != NULL;
	Oid			type = s->index->rd_opcintype[k];
	RegProcedure proc;
	int			strategy;

	if (s->nulls[k])
	{
		if (exclusion || !s->info->ii_NullsNotDistinct)
			return false;
		ScanKeyEntryInitialize(&s->keys[k], SK_ISNULL | SK_SEARCHNULL, k + 1, InvalidStrategy,
							   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
		return true;
	}
	strategy = exclusion ? s->info->ii_ExclusionStrats[k] : BTEqualStrategyNumber;
	proc = exclusion ? s->info->ii_ExclusionProcs[k]
					 : get_opcode(get_opfamily_member(s->index->rd_opfamily[k], type, type,
													  BTEqualStrategyNumber));
	ScanKeyEntryInitialize(&s->keys[k], 0, k + 1, strategy, InvalidOid,
						   s->index->rd_indcollation[k], proc, s->values[k]);
	return true;
}

/* Prepares the search for rows that conflict in an index. Returns false if there can be none. */
static bool
unique_prepare(Search *s, ApplyTarget *t, int i, TupleTableSlot *row)
{
	Assert(session_in_row());
	s->target = t;
	s->index = t->rri->ri_IndexRelationDescs[i];
	s->info = t->rri->ri_IndexRelationInfo[i];
	/* rows with different keys conflict by the key's own index if that is WITHOUT OVERLAPS */
	if ((i == t->key_index && !s->info->ii_ExclusionOps) || !s->info->ii_ReadyForInserts ||
		!(s->info->ii_Unique || s->info->ii_ExclusionOps) || !is_in_index(s, row))
		return false;
	FormIndexDatum(s->info, row, t->estate, s->values, s->nulls);
	for (int k = 0; k < s->info->ii_NumIndexKeyAttrs; k++)
	{
		if (!prepare_key(s, k))
			return false;
	}
	return true;
}

/* Returns true if a row that a lossy index returned really conflicts. */
static bool
really_clashes(Search *s, TupleTableSlot *found)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	GetPerTupleExprContext(s->target->estate)->ecxt_scantuple = found;
	FormIndexDatum(s->info, found, s->target->estate, values, nulls);
	for (int k = 0; k < s->info->ii_NumIndexKeyAttrs; k++)
	{
		if (nulls[k] || !DatumGetBool(OidFunctionCall2Coll(s->info->ii_ExclusionProcs[k],
														   s->index->rd_indcollation[k], values[k],
														   s->values[k])))
			return false;
	}
	return true;
}

/* Returns true if two rows have the same key. */
static bool
unique_same_key(ApplyTarget *t, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int k = 0; k < t->nkeys; k++)
	{
		bool		isnull;
		Datum		x = slot_getattr(a, t->key_attnums[k], &isnull);
		Datum		y = slot_getattr(b, t->key_attnums[k], &isnull);

		if (!DatumGetBool(FunctionCall2Coll(&t->skeys[k].sk_func, t->skeys[k].sk_collation, x, y)))
			return false;
	}
	return t->nkeys > 0;
}

/*
 * Adds the conflicting rows of one index to *clashes. Returns the transaction to wait for, if there
 * is one.
 */
static TransactionId
search_index(Search *s, TupleTableSlot *row, TupleTableSlot *found, List **clashes)
{
	ApplyTarget *t = s->target;
	SnapshotData dirty;
	IndexScanDesc scan;
	TransactionId busy = InvalidTransactionId;

	InitDirtySnapshot(dirty);
	scan = begin_index_scan(t->rel, s->index, &dirty, s->info->ii_NumIndexKeyAttrs);
	index_rescan(scan, s->keys, s->info->ii_NumIndexKeyAttrs, NULL, 0);
	while (!TransactionIdIsValid(busy) && index_getnext_slot(scan, ForwardScanDirection, found))
	{
		Clash	   *clash;

		if (unique_same_key(t, row, found) || (scan->xs_recheck && !really_clashes(s, found)))
			continue;
		busy = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (TransactionIdIsValid(busy))
			continue;
		clash = palloc(sizeof(Clash));
		clash->index_id = RelationGetRelid(s->index);
		clash->row = MakeSingleTupleTableSlot(t->found->tts_tupleDescriptor, t->found->tts_ops);
		ExecCopySlot(clash->row, found);
		ExecMaterializeSlot(clash->row);
		clash->row->tts_tid = found->tts_tid;
		*clashes = lappend(*clashes, clash);
	}
	index_endscan(scan);
	ExecClearTuple(found);
	return busy;
}

void
unique_clashes_free(List *clashes)
{
	ListCell   *lc;

	foreach(lc, clashes)
		ExecDropSingleTupleTableSlot(((Clash *) lfirst(lc))->row);
	list_free_deep(clashes);
}

List *
unique_clashes(ApplyTarget *t, TupleTableSlot *row, bool wait, bool *busy)
{
	TupleTableSlot *found =
		MakeSingleTupleTableSlot(t->found->tts_tupleDescriptor, t->found->tts_ops);
	List	   *clashes = NIL;
	OwnerContext saved = target_become_owner(t);
	Search		s;

	Assert(wait || busy);
	if (busy)
		*busy = false;
	for (int i = 0; i < t->nindexes; i++)
	{
		TransactionId running;

		if (!unique_prepare(&s, t, i, row))
			continue;
		running = search_index(&s, row, found, &clashes);
		if (!TransactionIdIsValid(running))
			continue;
		if (!wait)
		{
			*busy = true;
			break;
		}
		XactLockTableWait(running, t->rel, NULL, XLTW_None);
		unique_clashes_free(clashes);
		clashes = NIL;
		i = -1;					/* restart with the first index */
	}
	as_owner_end(saved);
	ExecDropSingleTupleTableSlot(found);
	ResetPerTupleExprContext(t->estate);
	return clashes;
}
