/*
 * key_search.c
 *		Finds a row of a local table by its key.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/key_search.h"

void
key_search_column(ScanKey search, Relation index, int k, Datum value)
{
	Oid			family = index->rd_opfamily[k];
	Oid			type = index->rd_opcintype[k];
	StrategyNumber equality = equality_strategy(index, k);
	Oid			op = get_opfamily_member(family, type, type, equality);

	Assert(k < IndexRelationGetNumberOfKeyAttributes(index));
	if (!OidIsValid(op))
		elog(ERROR, "no equality operator in opfamily %u for type %u", family, type);
	ScanKeyInit(search, k + 1, equality, get_opcode(op), value);
	search->sk_collation = index->rd_indcollation[k];
}

bool
key_search_matches(const ScanKeyData *search, const AttrNumber *attnums, int n,
				   TupleTableSlot *row)
{
	for (int k = 0; k < n; k++)
	{
		bool		isnull;
		Datum		value = slot_getattr(row, attnums[k], &isnull);

		if (isnull || !DatumGetBool(FunctionCall2Coll((FmgrInfo *) &search[k].sk_func,
													  search[k].sk_collation, value,
													  search[k].sk_argument)))
			return false;
	}
	return true;
}

bool
key_search_row(Relation rel, Oid indexoid, const Datum *key, Snapshot snapshot,
			   TupleTableSlot *slot)
{
	Relation	index = index_open(indexoid, AccessShareLock);
	int			n = IndexRelationGetNumberOfKeyAttributes(index);
	ScanKeyData search[INDEX_MAX_KEYS];
	IndexScanDesc scan;
	bool		found;
	bool		mvcc = IsMVCCSnapshot(snapshot);	/* the others have no copies */

	if (mvcc)
		snapshot = RegisterSnapshot(snapshot);
	for (int k = 0; k < n; k++)
		key_search_column(&search[k], index, k, key[k]);
	scan = begin_index_scan(rel, index, snapshot, n);
	index_rescan(scan, search, n, NULL, 0);
	do
		found = index_getnext_slot(scan, ForwardScanDirection, slot);
	while (found && scan->xs_recheck &&
		   !key_search_matches(search, index->rd_index->indkey.values, n, slot));
	index_endscan(scan);
	index_close(index, NoLock);
	if (mvcc)
		UnregisterSnapshot(snapshot);
	return found;
}
