/*
 * search.c
 *		Finding the local row that a change is about.
 *
 * A search runs under a fresh MVCC snapshot: the row that it finds is the newest
 * committed one, or the one that an open local transaction is about to replace; the
 * write that follows waits for that transaction, is told that the row was updated,
 * and the search is repeated. No row lock is taken before the write.
 *
 * "There is no such row" is believed only after a second look: a scan under a dirty
 * snapshot shows rows of transactions in progress, and those are waited for. A dirty
 * scan alone would not do: it can miss a row that is updated while it looks (the old
 * version is already dead to it, the new one not yet in what it reads), so the MVCC
 * search has the last word.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_am_d.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "apply/search.h"
#include "base/pulse.h"

bool
search_key(ApplyTarget *t, const Datum *key)
{
	Snapshot	snapshot = GetLatestSnapshot();
	bool		found;

	/* what the scan allocates, also later, has to live as long as the scan */
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	if (!t->scan)
		t->scan = index_beginscan(t->rel, t->rri->ri_IndexRelationDescs[t->key_index],
								  snapshot, t->nkeys, 0);
	t->scan->xs_snapshot = snapshot;
	for (int i = 0; i < t->nkeys; i++)
		t->skeys[i].sk_argument = key[i];
	index_rescan(t->scan, t->skeys, t->nkeys, NULL, 0);
	found = index_getnext_slot(t->scan, ForwardScanDirection, t->found);
	MemoryContextSwitchTo(old);
	return found;
}

/*
 * Looks for the key among rows that are not committed yet. Returns true if it found any row, and the
 * transaction that has it in hand, if one has.
 */
static bool
is_coming(ApplyTarget *t, TransactionId *writer)
{
	SnapshotData dirty;
	IndexScanDesc scan;
	bool		found;

	*writer = InvalidTransactionId;
	InitDirtySnapshot(dirty);
	scan = index_beginscan(t->rel, t->rri->ri_IndexRelationDescs[t->key_index],
						   &dirty, t->nkeys, 0);
	index_rescan(scan, t->skeys, t->nkeys, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, t->found);
	if (found)
		*writer = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
	ExecClearTuple(t->found);
	index_endscan(scan);
	return found;
}

bool
search_key_or_coming(ApplyTarget *t, const Datum *key)
{
	TransactionId writer;

	return search_key(t, key) || is_coming(t, &writer) || search_key(t, key);
}

bool
search_key_surely(ApplyTarget *t, const Datum *key)
{
	TransactionId writer;

	for (;;)
	{
		pulse();
		if (search_key(t, key))
			return true;
		if (!is_coming(t, &writer))
			return search_key(t, key);
		if (TransactionIdIsValid(writer))
			XactLockTableWait(writer, t->rel, NULL, XLTW_None);
	}
}

/* True if a local row equals the arriving old row. */
static bool
row_equal(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot)
{
	if (t->to_root)
		slot = execute_attr_map_slot(t->to_root->attrMap, slot, ar->root_slot);
	slot_getallattrs(slot);
	for (int att = 0; att < ar->natts; att++)
	{
		Form_pg_attribute a = TupleDescAttr(slot->tts_tupleDescriptor, att);

		if (!ar->present[att])
			continue;
		if (ar->nulls[att] != slot->tts_isnull[att])
			return false;
		if (ar->nulls[att])
			continue;
		if (!t->eq[att])
			t->eq[att] = lookup_type_cache(a->atttypid, TYPECACHE_EQ_OPR_FINFO);
		if (!OidIsValid(t->eq[att]->eq_opr_finfo.fn_oid))
			continue;			/* json, xml, point: cannot be compared, the other columns decide */
		if (!DatumGetBool(FunctionCall2Coll(&t->eq[att]->eq_opr_finfo, a->attcollation,
											ar->values[att], slot->tts_values[att])))
			return false;
	}
	return true;
}

/*
 * Chooses an index by whose columns the old row can be looked up: a plain btree one.
 * Fills in scan keys; returns its place, or -1.
 */
static int
choose_index(ApplyRelation *ar, ApplyTarget *t, ScanKeyData *keys, int *nkeys)
{
	for (int i = 0; i < t->nindexes && !t->from_root; i++)
	{
		Relation	index = t->rri->ri_IndexRelationDescs[i];
		IndexInfo  *info = t->rri->ri_IndexRelationInfo[i];
		int			n = 0;

		if (!index->rd_index->indisvalid || index->rd_rel->relam != BTREE_AM_OID || info->ii_Expressions || info->ii_Predicate)
			continue;
		while (n < info->ii_NumIndexKeyAttrs)
		{
			int			att = info->ii_IndexAttrNumbers[n] - 1;
			Oid			type = index->rd_opcintype[n];
			Oid			op = get_opfamily_member(index->rd_opfamily[n], type, type,
												 BTEqualStrategyNumber);

			if (!ar->present[att] || ar->nulls[att] || !OidIsValid(op))
				break;
			ScanKeyInit(&keys[n], n + 1, BTEqualStrategyNumber, get_opcode(op), ar->values[att]);
			keys[n].sk_collation = index->rd_indcollation[n];
			n++;
		}
		*nkeys = n;
		if (n > 0)
			return i;
	}
	return -1;
}

bool
search_equal(ApplyRelation *ar, ApplyTarget *t)
{
	ScanKeyData keys[INDEX_MAX_KEYS];
	int			nkeys = 0;
	int			i = choose_index(ar, t, keys, &nkeys);
	bool		found = false;

	PushActiveSnapshot(GetLatestSnapshot());
	if (i >= 0)
	{
		IndexScanDesc scan = index_beginscan(t->rel, t->rri->ri_IndexRelationDescs[i],
											 GetActiveSnapshot(), nkeys, 0);

		index_rescan(scan, keys, nkeys, NULL, 0);
		while (!found && index_getnext_slot(scan, ForwardScanDirection, t->found))
		{
			pulse_step();
			found = row_equal(ar, t, t->found);
		}
		if (found)
			ExecMaterializeSlot(t->found);
		index_endscan(scan);
	}
	else
	{
		TableScanDesc scan = table_beginscan(t->rel, GetActiveSnapshot(), 0, NULL);

		while (!found && table_scan_getnextslot(scan, ForwardScanDirection, t->found))
		{
			pulse_step();
			found = row_equal(ar, t, t->found);
		}
		if (found)
			ExecMaterializeSlot(t->found);
		table_endscan(scan);
	}
	PopActiveSnapshot();
	return found;
}
