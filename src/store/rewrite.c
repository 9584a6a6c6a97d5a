/*
 * rewrite.c
 *		Preserves the versions of rows when ALTER TABLE rewrites a table.
 *
 * A row that the running transaction itself wrote before the command is pinned to that transaction
 * (pin_find() knows its version once it has committed). Later changes of other rows by the same
 * transaction have the same version.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/full_xid.h"
#include "catalog/as_owner.h"
#include "catalog/nodes.h"
#include "catalog/stable_point.h"
#include "catalog/table_info.h"
#include "catalog/waiting_table.h"
#include "store/parked.h"
#include "store/rewrite.h"
#include "store/rewrite_known.h"
#include "store/row_version.h"
#include "store/tombstone.h"

/* A row that keeps its version. */
typedef struct Kept
{
	Datum	   *key;
	Version		version;
} Kept;

struct Rewriting
{
	Oid			relid;
	Oid			owner;
	TupleDesc	desc;			/* of the stored rows */
	TombstoneKeys *keys;
	int			nkeys;
	AttrNumber *attnums;		/* of the key, in this table */
	MemoryContext context;		/* of the whole structure */
	bool		collected;
	Oid			storage;		/* relfilenode from which the versions were collected */
	/* rows of transactions before this xid were stable when collected */
	uint64		stable;
	List	   *kept;			/* of Kept * */
};

/* Finds the key's columns in a table, which may be a partition with another layout. */
static void
rewrite_map_key(Rewriting *r, Relation root)
{
	r->nkeys = table_key_attributes(root, &r->attnums);
	for (int i = 0; i < r->nkeys; i++)
		r->attnums[i] =
			get_attnum(r->relid, get_attname(RelationGetRelid(root), r->attnums[i], false));
}

Rewriting *
rewrite_prepare(Relation rel)
{
	Relation	root;
	Rewriting  *r = NULL;

	if (rel->rd_rel->relkind != RELKIND_RELATION || !table_is_replicated_if_logged(rel) ||
		table_is_own_replicated(rel))
		return NULL;
	root = table_open(table_root(RelationGetRelid(rel)), AccessShareLock);
	if (table_identity(root) == WIRE_IDENTITY_KEY)
	{
		r = palloc0(sizeof(Rewriting));
		r->relid = RelationGetRelid(rel);
		r->owner = rel->rd_rel->relowner;
		r->desc = CreateTupleDescCopy(RelationGetDescr(rel));
		r->keys = tombstone_keys(root);
		r->context = CurrentMemoryContext;
		rewrite_map_key(r, root);
	}
	table_close(root, AccessShareLock);
	return r;
}

Oid
rewrite_relid(const Rewriting *r)
{
	return r->relid;
}

/* Returns the version of a stored row, or VERSION_OLDEST if the version is not needed. */
static Version
rewrite_version_of(Rewriting *r, HeapTuple tuple, const Datum *key, bool pins)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	bool copy = rewrite_is_known(r->relid, xmin, HeapTupleHeaderGetRawCommandId(tuple->t_data));
	Version		v;

	if (TransactionIdIsCurrentTransactionId(xmin) && !copy)
		return PIN_OF_WRITER;
	v = copy ? VERSION_OLDEST : row_version(xmin, VERSION_OLDEST);
	if (version_is_oldest(v) && pins)
		(void) pin_find(r->keys, key, xmin, &v);
	return v;
}

/* Remembers the version of a row. */
static void
rewrite_keep(Rewriting *r, const Datum *key, Version version)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	Kept	   *k = palloc(sizeof(Kept));

	k->key = palloc(r->nkeys * sizeof(Datum));
	for (int i = 0; i < r->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(r->desc, r->attnums[i] - 1);

		k->key[i] = att->attlen == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(key[i]))
									  : datumCopy(key[i], att->attbyval, att->attlen);
	}
	k->version = version;
	r->kept = lappend(r->kept, k);
	MemoryContextSwitchTo(old);
}

/*
 * Returns true if not all members have the writes of a transaction. Few rows of a large table are
 * of such transactions.
 */
static bool
rewrite_is_young(const Rewriting *r, TransactionId xmin)
{
	return TransactionIdIsNormal(xmin) && full_xid_of(xmin) >= r->stable;
}

/* Reads the key of a row. Returns false if a key column is null. */
static bool
rewrite_read_key(const Rewriting *r, HeapTuple tuple, Datum *key)
{
	for (int i = 0; i < r->nkeys; i++)
	{
		bool		isnull;

		key[i] = heap_getattr(tuple, r->attnums[i], r->desc, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/* Checks one stored row. */
static void
rewrite_look_at(Rewriting *r, HeapTuple tuple, bool pins)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	Datum		key[INDEX_MAX_KEYS];
	Version		v;

	if (!rewrite_is_young(r, xmin) || !rewrite_read_key(r, tuple, key))
		return;
	v = rewrite_version_of(r, tuple, key, pins);
	if (!version_is_oldest(v))
		rewrite_keep(r, key, v);
}

void
rewrite_collect(Rewriting *r)
{
	Relation	rel = table_open(r->relid, NoLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = begin_table_scan(rel, snapshot);
	bool		pins = pin_any(tombstone_relid(r->keys));
	OwnerContext saved = as_owner_begin(r->owner);
	HeapTuple	tuple;
	const WaitingTable *w = waiting_table_by_oid(r->relid);

	r->stable = w ? Min(w->stable_xid, stable_point_xid()) : stable_point_xid();
	r->storage = rel->rd_rel->relfilenode;
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		rewrite_look_at(r, tuple, pins);
	}
	as_owner_end(saved);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	r->collected = true;
}

void
rewrite_note(Rewriting *r)
{
	TransactionId writer = GetCurrentTransactionId();
	OwnerContext saved;
	ListCell   *lc;

	if (!r->collected)
		return;
	rewrite_make_known(r->relid);
	if (r->kept == NIL)
		return;
	parked_lock(tombstone_relid(r->keys), true);
	saved = as_owner_begin(r->owner);
	foreach(lc, r->kept)
		pin_add(r->keys, ((Kept *) lfirst(lc))->key, writer, ((Kept *) lfirst(lc))->version);
	as_owner_end(saved);
	CommandCounterIncrement();
}

/* A hash table entry to find kept rows by key. */
typedef struct KeptByHash
{
	int64		hash;			/* hash key */
	List	   *kept;			/* of Kept *: rows whose keys have this hash */
} KeptByHash;

/* Builds a hash table of the kept rows, by key. */
static HTAB *
index_kept(Rewriting *r)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),
					   .entrysize = sizeof(KeptByHash),
					   .hcxt = CurrentMemoryContext};
	HTAB	   *index = hash_create("kept rows", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ListCell   *lc;

	foreach(lc, r->kept)
	{
		int64		hash = tombstone_key_hash(r->keys, ((Kept *) lfirst(lc))->key);
		bool		found;
		KeptByHash *e = hash_search(index, &hash, HASH_ENTER, &found);

		e->kept = lappend(found ? e->kept : NIL, lfirst(lc));
	}
	return index;
}

/* Returns the kept row of a key, or NULL if there is none. */
static Kept *
find_kept(Rewriting *r, HTAB *index, const Datum *key)
{
	int64		hash = tombstone_key_hash(r->keys, key);
	KeptByHash *e = hash_search(index, &hash, HASH_FIND, NULL);
	StringInfoData buf;
	bytea	   *bytes;
	ListCell   *lc;

	if (!e)
		return NULL;
	initStringInfo(&buf);
	bytes = tombstone_key_bytes(r->keys, key, &buf);
	foreach(lc, e->kept)
	{
		if (tombstone_key_matches(r->keys, bytes, ((Kept *) lfirst(lc))->key))
			return lfirst(lc);
	}
	return NULL;
}

/*
 * Scans the copies, and pins those that keep their versions. Returns the transactions that wrote
 * the copies.
 */
static List *
look_at_copies(Rewriting *r, Relation rel)
{
	HTAB	   *index = index_kept(r);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = begin_table_scan(rel, snapshot);
	List	   *writers = NIL;
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
		Datum		key[INDEX_MAX_KEYS];
		Kept	   *k;

		CHECK_FOR_INTERRUPTS();
		if (!rewrite_is_young(r, xmin) || !rewrite_read_key(r, tuple, key))
			continue;
		writers = list_append_unique_oid(writers, xmin);
		k = find_kept(r, index, key);
		if (k)
			pin_add(r->keys, key, xmin, k->version);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	hash_destroy(index);
	return writers;
}

bool
rewrite_note_swapped(Rewriting *r)
{
	Relation	rel = table_open(r->relid, NoLock);
	bool		swapped = rel->rd_rel->relfilenode != r->storage;
	ListCell   *lc;

	if (swapped)
	{
		OwnerContext saved;
		List	   *writers;

		parked_lock(tombstone_relid(r->keys), true);
		saved = as_owner_begin(r->owner);
		writers = look_at_copies(r, rel);
		as_owner_end(saved);
		CommandCounterIncrement();
		foreach(lc, writers)
			rewrite_make_writer_known(r->relid, lfirst_oid(lc));
		CacheInvalidateRelcache(rel);
	}
	table_close(rel, NoLock);
	return swapped;
}
