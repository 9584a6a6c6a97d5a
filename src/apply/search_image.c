/*
 * search_image.c
 *		Finds the local row to which a change of a table without a key applies.
 *
 * This is the row with the same image (row_image.h), or any one of several. If there is none, a
 * value may have been computed in another way here than on the provider; then it is the row with
 * the same texts. A row that is equal only by its types' equality operators is another row (1.0 is
 * not 1.00). If no row is found, that is a conflict, update_missing or delete_missing.
 *
 * The ways to find the row, from cheap to expensive: the worker's own index of images, an index of
 * the table on some of the values, the whole table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/image_index.h"
#include "apply/row_image.h"
#include "apply/search_image.h"
#include "base/compat.h"
#include "base/pulse.h"
#include "base/session.h"

#define MOST_CANDIDATES	1000	/* index rows after which the index is considered useless */

typedef bool (*Compare) (ApplyRelation *ar, TupleTableSlot *row);

/*
 * Chooses an index of the table by which the old row can be looked up: a plain btree index. Fills
 * in the scan keys. Returns the position of the index, or -1.
 */
static int
choose_index(ApplyRelation *ar, ApplyTarget *t, ScanKeyData *keys, int *nkeys)
{
	for (int i = 0; i < t->nindexes && !t->from_root; i++)
	{
		Relation	index = t->rri->ri_IndexRelationDescs[i];
		IndexInfo  *info = t->rri->ri_IndexRelationInfo[i];
		int			n = 0;

		if (!index->rd_index->indisvalid || index->rd_rel->relam != BTREE_AM_OID ||
			info->ii_Expressions || info->ii_Predicate)
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

typedef enum IndexSearch
{
	INDEX_FOUND,
	INDEX_NONE,					/* there is no such row */
	INDEX_NO_HELP				/* no index, or one with too many candidates */
} IndexSearch;

/*
 * Searches the rows that an index of the table yields for some of the values. These include all
 * rows that are the same.
 */
static IndexSearch
search_by_index(ApplyRelation *ar, ApplyTarget *t, Compare is_same)
{
	ScanKeyData keys[INDEX_MAX_KEYS];
	int			nkeys = 0;
	int			i = choose_index(ar, t, keys, &nkeys);
	int			candidates = 0;
	IndexScanDesc scan;
	IndexSearch result = INDEX_NONE;

	if (i < 0)
		return INDEX_NO_HELP;
	scan = begin_index_scan(t->rel, t->rri->ri_IndexRelationDescs[i], GetActiveSnapshot(), nkeys);
	index_rescan(scan, keys, nkeys, NULL, 0);
	while (result == INDEX_NONE && index_getnext_slot(scan, ForwardScanDirection, t->found))
	{
		pulse_step();
		if (is_same(ar, row_image_of(ar, t, t->found)))
			result = INDEX_FOUND;
		else if (++candidates >= MOST_CANDIDATES)
			result = INDEX_NO_HELP;
	}
	if (result == INDEX_FOUND)
		ExecMaterializeSlot(t->found);
	index_endscan(scan);
	if (candidates > 0)
		image_index_searched(ar, t, candidates);
	return result;
}

/*
 * Returns true if a part of the table can be read; table access methods other than heap may lack
 * this.
 */
static bool
has_ranges(ApplyTarget *t)
{
	return t->rel->rd_tableam->scan_set_tidrange != NULL &&
		   t->rel->rd_tableam->scan_getnextslot_tidrange != NULL;
}

/* Begins a scan of a range of blocks, or of the whole table if it has no range scans. */
static TableScanDesc
search_image_start_scan(ApplyTarget *t, BlockNumber from, BlockNumber to)
{
	ItemPointerData first,
				end;

	if (!has_ranges(t))
		return begin_table_scan(t->rel, GetActiveSnapshot());
	ItemPointerSet(&first, from, FirstOffsetNumber);
	ItemPointerSet(&end, to - 1, MaxOffsetNumber);
	return begin_range_scan(t->rel, GetActiveSnapshot(), &first, &end);
}

/* Returns the next row of that scan in t->found. */
static bool
search_image_next_row(ApplyTarget *t, TableScanDesc scan)
{
	if (!has_ranges(t))
		return table_scan_getnextslot(scan, ForwardScanDirection, t->found);
	return table_scan_getnextslot_tidrange(scan, ForwardScanDirection, t->found);
}

/*
 * Reads blocks from "from" up to, but excluding, "to" until a row is found. Returns true if one was
 * found. Adds the number of blocks read to *pages.
 */
static bool
scan_blocks(ApplyRelation *ar, ApplyTarget *t, Compare is_same, BlockNumber from, BlockNumber to,
			uint64 *pages)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "search", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	BlockNumber last = InvalidBlockNumber;
	bool		found = false;
	TableScanDesc scan = search_image_start_scan(t, from, to);

	old = MemoryContextSwitchTo(context);
	while (!found && search_image_next_row(t, scan))
	{
		BlockNumber block = ItemPointerGetBlockNumber(&t->found->tts_tid);

		if (block != last)
		{
			pulse_step();
			MemoryContextReset(context);
			last = block;
			(*pages)++;
		}
		found = is_same(ar, row_image_of(ar, t, t->found));
	}
	if (found)
	{
		ExecMaterializeSlot(t->found);
		t->found_block = last;
	}
	table_endscan(scan);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return found;
}

/*
 * Reads the table until a row is found, starting where the last one was found, because changes
 * mostly arrive in the order of the rows.
 */
static bool
scan_table(ApplyRelation *ar, ApplyTarget *t, Compare is_same, uint64 *pages)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(t->rel);
	BlockNumber start = has_ranges(t) && t->found_block < nblocks ? t->found_block : 0;

	*pages = 0;
	return (start < nblocks && scan_blocks(ar, t, is_same, start, nblocks, pages)) ||
		(start > 0 && scan_blocks(ar, t, is_same, 0, start, pages));
}

/* Searches without the worker's own index. */
static bool
search_stored(ApplyRelation *ar, ApplyTarget *t, Compare is_same)
{
	IndexSearch result = search_by_index(ar, t, is_same);
	uint64		pages;
	bool		found;

	if (result != INDEX_NO_HELP)
		return result == INDEX_FOUND;
	found = scan_table(ar, t, is_same, &pages);
	image_index_searched(ar, t, pages);
	return found;
}

/* Searches by texts, if that can make a difference. */
static bool
search_texts(ApplyRelation *ar, ApplyTarget *t)
{
	int			nest;
	bool		found;

	if (!row_image_has_texts(ar))
		return false;
	nest = session_pin_text(true);
	found = search_stored(ar, t, row_image_same_texts);
	session_unpin(nest);
	return found;
}

bool
search_image(ApplyRelation *ar, ApplyTarget *t)
{
	bool		found;

	Assert(ar->nkeys == 0 && session_in_row());
	PushActiveSnapshot(GetLatestSnapshot());
	found = image_index_take(ar, t) || search_stored(ar, t, row_image_equal) || search_texts(ar, t);
	PopActiveSnapshot();
	return found;
}
