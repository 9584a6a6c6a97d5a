/*
 * search.c
 *		Finds the local row to which a change applies, by key.
 *
 * A search uses a fresh MVCC snapshot. The row that it finds is the newest committed one, or one
 * that an open local transaction is about to replace. The write that follows waits for that
 * transaction and learns that the row was updated; then the search is repeated. No row lock is
 * taken before the write.
 *
 * A search without a result needs a second look. A scan under a dirty snapshot shows rows of
 * transactions in progress, and the caller waits for those. A dirty scan alone is not sufficient,
 * because it can miss a row that is updated during the scan (the old version is already dead to it,
 * the new one is not yet in what it reads). The MVCC search therefore decides.
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
#include "base/compat.h"
#include "base/pulse.h"
#include "store/key_search.h"

/* Returns the next row of a scan for the key, in t->found. */
static bool
search_next_row(ApplyTarget *t, IndexScanDesc scan)
{
	while (index_getnext_slot(scan, ForwardScanDirection, t->found))
	{
		if (!scan->xs_recheck || key_search_matches(t->skeys, t->key_attnums, t->nkeys, t->found))
			return true;
	}
	return false;
}

bool
search_key(ApplyTarget *t, const Datum *key)
{
	Snapshot	snapshot = begin_latest_snapshot();
	bool		found;

	/* whatever the scan allocates, now or later, must live as long as the scan */
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	Assert(t->rel && t->key_index >= 0 && t->nkeys > 0);
	if (!t->scan)
		t->scan = begin_index_scan(t->rel, t->rri->ri_IndexRelationDescs[t->key_index], snapshot,
								   t->nkeys);
	t->scan->xs_snapshot = snapshot;
	for (int i = 0; i < t->nkeys; i++)
		t->skeys[i].sk_argument = key[i];
	index_rescan(t->scan, t->skeys, t->nkeys, NULL, 0);
	found = search_next_row(t, t->scan);
	end_latest_snapshot(snapshot);
	MemoryContextSwitchTo(old);
	return found;
}

/*
 * Searches for the key among uncommitted rows. Returns true if there is any row. Sets *writer to
 * the transaction in progress that is writing the row, if there is one.
 */
static bool
is_coming(ApplyTarget *t, TransactionId *writer)
{
	SnapshotData dirty;
	IndexScanDesc scan;
	bool		found;

	*writer = InvalidTransactionId;
	InitDirtySnapshot(dirty);
	scan = begin_index_scan(t->rel, t->rri->ri_IndexRelationDescs[t->key_index], &dirty, t->nkeys);
	index_rescan(scan, t->skeys, t->nkeys, NULL, 0);
	found = search_next_row(t, scan);
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
