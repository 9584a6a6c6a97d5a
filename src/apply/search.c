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
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/search.h"
#include "base/pulse.h"

bool
search_key(ApplyTarget *t, const Datum *key)
{
	Snapshot	snapshot = GetLatestSnapshot();
	bool		found;

	/* what the scan allocates, also later, has to live as long as the scan */
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	Assert(t->rel && t->key_index >= 0 && t->nkeys > 0);
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
 * Looks for the key among rows that are not committed yet. Returns true if it found any row, and
 * the transaction that has it in hand, if one has.
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
