/*
 * image_index.c
 *		Finds rows of a table without a key by an index of row images in the worker's memory.
 *
 * Without an index, each change of a row that has no key reads half of its table on average. A
 * table that has been searched often enough is therefore indexed: all its rows are hashed. The
 * index is updated with what this process writes, but not with what other processes write. An entry
 * therefore leads to a row that is compared before it is used, and if no entry leads to the wanted
 * row, the caller searches the table. So an index can be kept across transactions; an outdated
 * index is useless at worst, but never gives a wrong row.
 *
 * An index is freed when the definition or the storage of its table changes, when the worker is
 * idle, and when the index would need more than maintenance_work_mem. A table that is too large for
 * that is searched for each row.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "apply/image_index.h"
#include "apply/row_image.h"
#include "base/compat.h"
#include "base/moment.h"
#include "base/pulse.h"

/* searches of a whole table before it is indexed; an index costs a fifth of them at most */
#define WORTH_SEARCHES	10
#define IDLE_MS			10000
#define NO_ENTRY		PG_UINT32_MAX

typedef struct Entry
{
	uint32		hash;
	uint32		next;			/* in the same bucket, or in the list of free entries */
	ItemPointerData tid;
} Entry;

typedef struct ImageIndex
{
	Oid			relid;			/* of the target */
	uint32		remote_id;		/* relation whose columns are hashed */
	bool		valid;			/* false: rebuild the index */
	bool		too_large;
	MemoryContext context;		/* of the arrays; NULL: there are none */
	Entry	   *entries;
	uint32	   *buckets;
	uint32		nbuckets;		/* a power of two */
	uint32		size;			/* number of entries allocated */
	uint32		used;			/* number of entries ever used */
	uint32		free;			/* first entry of the free list */
	uint64		searched;		/* pages of the table read since the index was cleared */
	Moment		used_at;
} ImageIndex;

/* List of ImageIndex *, in TopMemoryContext: a cache that all appliers of the process share. */
static List *indexes = NIL;

/* ---------- life cycle ---------- */

/* Marks indexes of the table, or of all tables, as invalid. */
void
image_index_table_changed(Oid relid)
{
	ListCell   *lc;

	foreach(lc, indexes)
	{
		ImageIndex *x = lfirst(lc);

		if (relid == InvalidOid || x->relid == relid)
			x->valid = x->too_large = false;
	}
}

/* Frees the contents of an index. */
static void
image_index_clear(ImageIndex *x)
{
	if (x->context)
		MemoryContextDelete(x->context);
	x->context = NULL;
	x->entries = NULL;
	x->buckets = NULL;
	x->nbuckets = x->size = x->used = 0;
	x->free = NO_ENTRY;
	x->searched = 0;
}

/* Returns the index of a table, cleared if it is outdated, or NULL if there is none. */
static ImageIndex *
image_index_find(Oid relid, uint32 remote_id)
{
	ListCell   *lc;

	foreach(lc, indexes)
	{
		ImageIndex *x = lfirst(lc);

		if (x->relid != relid)
			continue;
		if (!x->valid || x->remote_id != remote_id)
		{
			image_index_clear(x);
			x->remote_id = remote_id;
			x->valid = true;
		}
		return x;
	}
	return NULL;
}

/* Returns the index of a table, and creates it if there is none. */
static ImageIndex *
image_index_get(Oid relid, uint32 remote_id)
{
	ImageIndex *x = image_index_find(relid, remote_id);
	MemoryContext old;

	if (x)
		return x;
	old = MemoryContextSwitchTo(TopMemoryContext);
	x = palloc0(sizeof(ImageIndex));
	x->relid = relid;
	x->remote_id = remote_id;
	x->valid = true;
	x->free = NO_ENTRY;
	indexes = lappend(indexes, x);
	MemoryContextSwitchTo(old);
	return x;
}

/* Frees all indexes that have not been used for ms milliseconds. */
static void
free_unused(int ms)
{
	ListCell   *lc;

	foreach(lc, indexes)
	{
		ImageIndex *x = lfirst(lc);

		if (!moment_is_past(x->used_at, ms))
			continue;
		image_index_clear(x);
		pfree(x);
		indexes = foreach_delete_current(indexes, lc);
	}
}

void
image_index_tend(void)
{
	if (indexes != NIL)
		free_unused(IDLE_MS);
}

void
image_index_reset(void)
{
	free_unused(0);
}

/* ---------- entries ---------- */

/* Returns the memory that an index uses, in bytes. */
static Size
memory_of(ImageIndex *x)
{
	return (Size) x->size * sizeof(Entry) + (Size) x->nbuckets * sizeof(uint32);
}

/* Returns the memory that all indexes use, in bytes. */
static Size
memory_used(void)
{
	Size		sum = 0;
	ListCell   *lc;

	foreach(lc, indexes)
		sum += memory_of(lfirst(lc));
	return sum;
}

/*
 * Enlarges an index, to twice its size if the memory permits. Returns false if there is not enough
 * memory.
 */
static bool
image_index_grow(ImageIndex *x)
{
	Size		limit = (Size) maintenance_work_mem * 1024;
	Size		others = memory_used() - memory_of(x);
	Size		most = limit > others ? (limit - others) / (sizeof(Entry) + sizeof(uint32)) : 0;
	uint32		size = Min(Max(1024, (Size) x->size * 2), Min(most, NO_ENTRY));

	if (size < x->size + 1024)
		return false;
	if (!x->context)
	{
		x->context = AllocSetContextCreate(TopMemoryContext, "row images", ALLOCSET_DEFAULT_SIZES);
		x->entries = MemoryContextAllocHuge(x->context, (Size) size * sizeof(Entry));
	}
	else
	{
		x->entries = repalloc_huge(x->entries, (Size) size * sizeof(Entry));
		pfree(x->buckets);
	}
	x->size = size;
	x->nbuckets = (uint32) 1 << pg_leftmost_one_pos32(size);
	x->buckets = MemoryContextAllocHuge(x->context, (Size) x->nbuckets * sizeof(uint32));
	memset(x->buckets, 0xFF, (Size) x->nbuckets * sizeof(uint32));
	Assert((x->nbuckets & (x->nbuckets - 1)) == 0 && x->used < x->size);
	for (uint32 i = 0; i < x->used; i++)
	{
		uint32	   *bucket = &x->buckets[x->entries[i].hash & (x->nbuckets - 1)];

		x->entries[i].next = *bucket;
		*bucket = i;
	}
	return true;
}

/* Adds an entry. Returns false if there is not enough memory. */
static bool
image_index_append(ImageIndex *x, uint32 hash, ItemPointer tid)
{
	uint32		i = x->free;
	uint32	   *bucket;

	Assert(x->used <= x->size && (i == NO_ENTRY || i < x->used));
	if (i != NO_ENTRY)
		x->free = x->entries[i].next;
	else
	{
		if (x->used == x->size && !image_index_grow(x))
			return false;
		i = x->used++;
	}
	bucket = &x->buckets[hash & (x->nbuckets - 1)];
	x->entries[i] = (Entry) {hash, *bucket, *tid};
	*bucket = i;
	return true;
}

/* Removes the entry to which link points. */
static void
unlink_entry(ImageIndex *x, uint32 *link)
{
	uint32		i = *link;

	Assert(i < x->used);
	*link = x->entries[i].next;
	x->entries[i].next = x->free;
	x->free = i;
}

/* Hashes all rows of a table. */
static void
image_index_build(ImageIndex *x, ApplyRelation *ar, ApplyTarget *t)
{
	TableScanDesc scan = begin_table_scan(t->rel, GetActiveSnapshot());
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "row image", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	image_index_clear(x);
	while (!x->too_large && table_scan_getnextslot(scan, ForwardScanDirection, t->found))
	{
		TupleTableSlot *row = row_image_of(ar, t, t->found);

		pulse_step();
		slot_getallattrs(row);
		x->too_large = !image_index_append(x, row_image_hash(ar, row->tts_values, row->tts_isnull),
										   &t->found->tts_tid);
		MemoryContextReset(context);
	}
	if (x->too_large)
		image_index_clear(x);
	ExecClearTuple(t->found);
	table_endscan(scan);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ---------- use ---------- */

/* Returns true if the arriving row has all columns that are hashed. */
static bool
has_all_columns(ApplyRelation *ar)
{
	for (int i = 0; i < ar->remote.natts; i++)
	{
		if (!ar->present[ar->local_att[i] - 1])
			return false;
	}
	return true;
}

/*
 * Searches the entries of a hash for the row, and removes its entry. Also removes entries that lead
 * to no row.
 */
static bool
image_index_pick(ImageIndex *x, ApplyRelation *ar, ApplyTarget *t, uint32 hash)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(t->rel);
	uint32	   *link = &x->buckets[hash & (x->nbuckets - 1)];

	while (*link != NO_ENTRY)
	{
		Entry	   *e = &x->entries[*link];

		pulse_step();
		if (e->hash != hash)
		{
			link = &e->next;
			continue;
		}
		if (ItemPointerGetBlockNumber(&e->tid) >= nblocks ||
			!table_tuple_fetch_row_version(t->rel, &e->tid, GetActiveSnapshot(), t->found))
		{
			unlink_entry(x, link);
			continue;
		}
		if (row_image_equal(ar, row_image_of(ar, t, t->found)))
		{
			unlink_entry(x, link);
			return true;
		}
		link = &e->next;
	}
	ExecClearTuple(t->found);
	return false;
}

bool
image_index_take(ApplyRelation *ar, ApplyTarget *t)
{
	ImageIndex *x = image_index_find(t->relid, ar->remote_id);

	Assert(ar->nkeys == 0 && ActiveSnapshotSet());
	if (!x || x->too_large || !has_all_columns(ar))
		return false;
	if (x->searched >= WORTH_SEARCHES * (uint64) Max(RelationGetNumberOfBlocks(t->rel), 1))
		image_index_build(x, ar, t);
	x->used_at = moment_now();
	return x->entries && image_index_pick(x, ar, t, row_image_hash(ar, ar->values, ar->nulls));
}

void
image_index_searched(ApplyRelation *ar, ApplyTarget *t, uint64 pages)
{
	ImageIndex *x = image_index_get(t->relid, ar->remote_id);

	x->searched += pages;
	x->used_at = moment_now();
}

void
image_index_add(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot)
{
	ImageIndex *x = indexes == NIL ? NULL : image_index_find(t->relid, ar->remote_id);
	TupleTableSlot *row;
	ItemPointerData tid = slot->tts_tid;

	Assert(ar->nkeys == 0 && ItemPointerIsValid(&tid));
	if (!x || !x->entries)
		return;
	row = row_image_of(ar, t, slot);
	slot_getallattrs(row);
	if (!image_index_append(x, row_image_hash(ar, row->tts_values, row->tts_isnull), &tid))
		image_index_clear(x);
}
