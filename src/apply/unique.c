/*
 * unique.c
 *		Rows that stand in the way of an arriving one by another unique key.
 *
 * Only looked for after a unique violation has stopped a transaction, to tell what
 * the conflict is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/unique.h"

/* Looks a row's values up in one index; the row found goes into slot found. */
static bool
find_in_index(ApplyTarget *t, int i, TupleTableSlot *slot, TupleTableSlot *found)
{
	Relation	index = t->rri->ri_IndexRelationDescs[i];
	IndexInfo  *info = t->rri->ri_IndexRelationInfo[i];
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	ScanKeyData keys[INDEX_MAX_KEYS];
	IndexScanDesc scan;
	bool		result;

	GetPerTupleExprContext(t->estate)->ecxt_scantuple = slot;
	if (info->ii_Predicate &&
		!ExecQual(ExecPrepareQual(info->ii_Predicate, t->estate), GetPerTupleExprContext(t->estate)))
		return false;
	FormIndexDatum(info, slot, t->estate, values, nulls);
	for (int k = 0; k < info->ii_NumIndexKeyAttrs; k++)
	{
		Oid			type = index->rd_opcintype[k];
		Oid			op = get_opfamily_member(index->rd_opfamily[k], type, type, BTEqualStrategyNumber);

		if (nulls[k] || !OidIsValid(op))
			return false;
		ScanKeyInit(&keys[k], k + 1, BTEqualStrategyNumber, get_opcode(op), values[k]);
		keys[k].sk_collation = index->rd_indcollation[k];
	}
	scan = index_beginscan(t->rel, index, GetActiveSnapshot(), info->ii_NumIndexKeyAttrs, 0);
	index_rescan(scan, keys, info->ii_NumIndexKeyAttrs, NULL, 0);
	result = index_getnext_slot(scan, ForwardScanDirection, found);
	if (result)
		ExecMaterializeSlot(found);
	index_endscan(scan);
	return result;
}

/* True if two rows have the same key. */
static bool
same_key(ApplyTarget *t, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int k = 0; k < t->nkeys; k++)
	{
		bool		isnull;
		Datum		x = slot_getattr(a, t->key_attnums[k], &isnull);
		Datum		y = slot_getattr(b, t->key_attnums[k], &isnull);

		if (!DatumGetBool(FunctionCall2Coll(&t->skeys[k].sk_func, t->skeys[k].sk_collation, x, y)))
			return false;
	}
	return true;
}

int
unique_conflicts(ApplyTarget *t, TupleTableSlot *slot)
{
	TupleTableSlot *found = MakeSingleTupleTableSlot(t->found->tts_tupleDescriptor, t->found->tts_ops);
	int			n = 0;

	for (int i = 0; i < t->nindexes; i++)
	{
		IndexInfo  *info = t->rri->ri_IndexRelationInfo[i];

		if (i == t->key_index || !info->ii_Unique || !t->rri->ri_IndexRelationDescs[i]->rd_index->indisvalid ||
			t->rri->ri_IndexRelationDescs[i]->rd_rel->relam != BTREE_AM_OID)
			continue;
		if (!find_in_index(t, i, slot, found) || (t->nkeys > 0 && same_key(t, slot, found)))
			continue;
		if (n++ == 0)
		{
			ExecCopySlot(t->found, found);
			ExecMaterializeSlot(t->found);
		}
	}
	ExecDropSingleTupleTableSlot(found);
	return n;
}
