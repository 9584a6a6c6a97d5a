/*
 * remove.c
 *		Applies DELETE and TRUNCATE.
 *
 * A delete is one more version of its key. It removes the local row if it is newer than the row. It
 * is remembered as a tombstone, even if there is no row, because the put that it beats may still
 * arrive. A delete that is older than the local row or than the local tombstone changes nothing.
 *
 * TRUNCATE of a table with a key arrives as one delete per row. Of a table without a key, it
 * removes the rows that the writer had seen.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "executor/executor.h"
#include "catalog/pg_inherits.h"
#include "nodes/pg_list.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/context.h"
#include "apply/park.h"
#include "apply/place.h"
#include "apply/put.h"
#include "apply/remove.h"
#include "apply/row.h"
#include "apply/search.h"
#include "apply/search_image.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/pulse.h"
#include "base/session.h"

/*
 * Remembers a delete whose key has no row, unless something newer is remembered. Returns
 * WRITE_AGAIN if a row was inserted meanwhile: an inserter searches for a tombstone after it has
 * written its row, and this function searches for a row after it has written its tombstone.
 */
static WriteResult
remove_missing(ApplyRelation *ar, ApplyTarget *t, const Datum *key)
{
	Version		deleted;
	bool		known;

	if (ar->parking && park_remove(ar, key))
		return WRITE_DONE;
	known = ar->tombstones &&
		tombstone_find(ar->tombstones, key, ar->cx->version, &deleted);

	if (ar->tombstones && (!known || version_cmp(deleted, ar->cx->version) < 0))
	{
		tombstone_write(ar->tombstones, key, true);
		ar->cx->wrote = true;
		tombstone_flush();
		if (search_key_surely(t, key))
			return WRITE_AGAIN;
	}
	row_key_to_root_slot(ar, key);
	if (!known)
		apply_conflict(ar, CONFLICT_DELETE_MISSING, RESOLUTION_KEEP_LOCAL, NULL, VERSION_OLDEST,
					   NULL, ar->root_slot);
	else if (!apply_was_seen(ar->cx, deleted))
		apply_conflict(ar, CONFLICT_DELETE_MISSING, RESOLUTION_KEEP_LOCAL, NULL, deleted,
					   NULL, ar->root_slot);
	return WRITE_DONE;
}

/* Deletes the found row if the delete is newer. */
static WriteResult
remove_found(ApplyRelation *ar, ApplyTarget *t, const Datum *key)
{
	Version		local = place_version(ar, t, t->found, ar->cx->version);
	bool		seen = apply_was_seen(ar->cx, local);

	Assert(!TTS_EMPTY(t->found));
	if (!apply_wins(ar->cx, local))
	{
		row_key_to_root_slot(ar, key);
		apply_conflict(ar, CONFLICT_DELETE_ORIGIN_DIFFERS, RESOLUTION_KEEP_LOCAL, t->found, local,
					   NULL, ar->root_slot);
		return WRITE_DONE;
	}
	if (!seen)
		ExecMaterializeSlot(t->found);
	if (write_delete(ar, t, &t->found->tts_tid) == WRITE_AGAIN)
		return WRITE_AGAIN;
	if (ar->tombstones)
		tombstone_write(ar->tombstones, key, true);
	if (!seen)
	{
		row_key_to_root_slot(ar, key);
		apply_conflict(ar, CONFLICT_DELETE_ORIGIN_DIFFERS, RESOLUTION_APPLY_REMOTE, t->found, local,
					   NULL, ar->root_slot);
	}
	return WRITE_DONE;
}

/*
 * Handles a delete whose partition does not exist. The row is already gone, but a tombstone is
 * needed, so that no older write can bring it back if the partition is created again.
 */
static void
remove_nowhere(ApplyRelation *ar, const Datum *key)
{
	Version		deleted;
	bool		known;

	Assert(ar->partitioned && ar->nkeys > 0);
	if (ar->parking && park_remove(ar, key))
		return;
	known = ar->tombstones && tombstone_find(ar->tombstones, key, ar->cx->version, &deleted);
	if (ar->tombstones && (!known || version_cmp(deleted, ar->cx->version) < 0))
	{
		tombstone_write(ar->tombstones, key, true);
		ar->cx->wrote = true;
	}
	row_key_to_root_slot(ar, key);
	if (!known)
		apply_conflict(ar, CONFLICT_DELETE_MISSING, RESOLUTION_KEEP_LOCAL, NULL, VERSION_OLDEST,
					   NULL, ar->root_slot);
}

/* Deletes one row that equals the old row of a table without a key. */
static void
remove_equal(ApplyRelation *ar)
{
	ApplyTarget *t;

	Assert(ar->nkeys == 0 && ar->cx->has_old);
	row_read(ar, &ar->cx->oldtup);
	row_to_root_slot(ar);
	t = relation_route_any(ar);
	while (t && search_image(ar, t))
	{
		if (write_delete(ar, t, &t->found->tts_tid) == WRITE_DONE)
			return;
	}
	row_to_root_slot(ar);
	apply_conflict(ar, CONFLICT_DELETE_MISSING, RESOLUTION_KEEP_LOCAL, NULL, VERSION_OLDEST,
				   NULL, ar->root_slot);
}

void
remove_row(ApplyRelation *ar)
{
	Datum		key[INDEX_MAX_KEYS];
	ApplyTarget *t;

	Assert(session_in_row() && CurrentMemoryContext == ar->cx->row_context && !ar->merge);
	put_flush(ar->cx);
	if (ar->nkeys == 0)
	{
		remove_equal(ar);
		return;
	}
	row_read_key(ar, &ar->cx->oldtup, key);
	if (ar->partitioned)
		row_key_to_root_slot(ar, key);
	t = relation_route_any(ar);
	if (!t)
	{
		remove_nowhere(ar, key);
		return;
	}
	if (search_key(t, key) && remove_found(ar, t, key) == WRITE_DONE)
		return;
	do
	{
		while (search_key_surely(t, key))
		{
			if (remove_found(ar, t, key) == WRITE_DONE)
				return;
		}
	} while (remove_missing(ar, t, key) == WRITE_AGAIN);
}

/* Deletes the rows of one table that the writer had seen. */
static void
remove_seen_in(ApplyRelation *ar, ApplyTarget *t)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = begin_table_scan(t->rel, snapshot);

	while (table_scan_getnextslot(scan, ForwardScanDirection, t->found))
	{
		pulse_step();

		/* a row that changes meanwhile is not one that the writer had seen */
		if (apply_was_seen(ar->cx, place_version(ar, t, t->found, ar->cx->version)))
			(void) write_delete(ar, t, &t->found->tts_tid);
	}
	ExecClearTuple(t->found);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
}

void
remove_all_seen(ApplyRelation *ar)
{
	List	   *leaves;
	ListCell   *lc;

	put_flush(ar->cx);
	if (!ar->partitioned)
	{
		remove_seen_in(ar, ar->target);
		return;
	}
	leaves = find_all_inheritors(ar->relid, RowExclusiveLock, NULL);
	foreach(lc, leaves)
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION)
			remove_seen_in(ar, relation_leaf(ar, lfirst_oid(lc)));
	}
}
