/*
 * conflict_count.c
 *		Counts conflicts by table, type and resolution.
 *
 * Conflicts are counted in memory and written once per transaction, by that transaction itself.
 * They are therefore counted exactly as often as they are applied, and a transaction with many
 * conflicts writes only a few rows. Each link has its own rows, so that link workers never wait for
 * each other.
 *
 * The rows change with each transaction that has a conflict, by HOT updates, for which the table's
 * fillfactor reserves space. While an old snapshot holds back the removal of previous row versions,
 * these and their index entries accumulate. The index is therefore used only for the first access;
 * later a row is found where this process last wrote it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "log/conflict_count.h"

/* Columns of conflict_count, in order; the first five except the name are the key. */
enum
{
	COL_PROVIDER, COL_RELID, COL_TABLE_NAME, COL_TYPE, COL_RESOLUTION, COL_N, COL_LAST_AT,
	COL_NOT_LOGGED, N_COLS
};

/* The key of a count; without padding, because its bytes are hashed. */
typedef struct CountKey
{
	Oid			relid;
	int32		type;
	int32		resolution;
} CountKey;

typedef struct Count
{
	CountKey	key;
	int64		n;
	int64		not_logged;
} Count;

/* Where the row of a count was last written; verified before use. */
typedef struct Place
{
	CountKey	key;
	ItemPointerData tid;
} Place;

/* The counts of the running transaction, in its memory; NULL: none. */
static HTAB *counts = NULL;

/* The places of this process. */
static HTAB *places = NULL;

void
conflict_count_add(Oid relid, ConflictKind type, ConflictResolution resolution, bool logged)
{
	CountKey	key = {relid, type, resolution};
	Count	   *c;
	bool		found;

	if (!counts)
	{
		HASHCTL		ctl = {.keysize = sizeof(CountKey),.entrysize = sizeof(Count),
			.hcxt = TopTransactionContext
		};

		counts = hash_create("conflicts", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	c = hash_search(counts, &key, HASH_ENTER, &found);
	if (!found)
		c->n = c->not_logged = 0;
	c->n++;
	if (!logged)
		c->not_logged++;
}

void
conflict_count_forget(void)
{
	counts = NULL;				/* the end of the transaction has freed the memory */
}

/* Returns the place of a count, which is invalid if the count is new. */
static ItemPointer
conflict_count_place_of(const CountKey *key)
{
	Place	   *p;
	bool		found;

	if (!places)
	{
		HASHCTL ctl = {.keysize = sizeof(CountKey),
					   .entrysize = sizeof(Place),
					   .hcxt = TopMemoryContext};

		places = hash_create("conflict counters", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	p = hash_search(places, key, HASH_ENTER, &found);
	if (!found)
		ItemPointerSetInvalid(&p->tid);
	return &p->tid;
}

/* Returns true if a row has the key in values. */
static bool
has_key(Relation rel, HeapTuple row, Datum *values)
{
	Datum		v[N_COLS];
	bool		nulls[N_COLS];

	heap_deform_tuple(row, RelationGetDescr(rel), v, nulls);
	return DatumGetInt32(v[COL_PROVIDER]) == DatumGetInt32(values[COL_PROVIDER]) &&
		   DatumGetObjectId(v[COL_RELID]) == DatumGetObjectId(values[COL_RELID]) &&
		   DatumGetBool(
			   DirectFunctionCall2Coll(texteq, C_COLLATION_OID, v[COL_TYPE], values[COL_TYPE])) &&
		   DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, v[COL_RESOLUTION],
												values[COL_RESOLUTION]));
}

/* Returns a copy of the row of a key if it is in that place, or NULL. */
static HeapTuple
row_at(Relation rel, ItemPointer tid, Datum *values)
{
	HeapTupleData row = {.t_self = *tid};
	HeapTuple	copy = NULL;
	Buffer		page,
				pin;

	/* the table may have been truncated */
	if (!ItemPointerIsValid(tid) ||
		ItemPointerGetBlockNumber(tid) >= RelationGetNumberOfBlocks(rel))
		return NULL;
	page = ReadBuffer(rel, ItemPointerGetBlockNumber(tid));
	prune_page(rel, page);
	if (heap_fetch(rel, GetActiveSnapshot(), &row, &pin, false))
	{
		if (has_key(rel, &row, values))
			copy = heap_copytuple(&row);
		ReleaseBuffer(pin);
	}
	ReleaseBuffer(page);
	return copy;
}

/* Finds the row of a key by the index. Returns a copy, or NULL if there is none. */
static HeapTuple
row_by_index(Relation rel, Datum *values)
{
	static const AttrNumber columns[4] = {COL_PROVIDER, COL_RELID, COL_TYPE, COL_RESOLUTION};
	static const RegProcedure equal[4] = {F_INT4EQ, F_OIDEQ, F_TEXTEQ, F_TEXTEQ};
	ScanKeyData keys[4];
	SysScanDesc scan;
	HeapTuple	row;

	for (int i = 0; i < 4; i++)
	{
		ScanKeyInit(&keys[i], columns[i] + 1, BTEqualStrategyNumber, equal[i], values[columns[i]]);
		keys[i].sk_collation = TupleDescAttr(RelationGetDescr(rel), columns[i])->attcollation;
	}
	scan =
		systable_beginscan(rel, extension_relation_oid("conflict_count_pkey"), true, NULL, 4, keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	return row;
}

/* Returns a bigint column of a row. */
static int64
number_of(Relation rel, HeapTuple row, int column)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row, column + 1, RelationGetDescr(rel), &isnull));
}

/* Adds one count to its row of this link. */
static void
write_count(Relation rel, NodeId provider, const Count *c)
{
	Oid			relid = c->key.relid;
	ItemPointer place = conflict_count_place_of(&c->key);
	Datum		values[N_COLS];
	bool		nulls[N_COLS] = {false};
	bool		replace[N_COLS];
	HeapTuple	old,
				row;

	memset(replace, true, sizeof(replace));
	values[COL_PROVIDER] = Int32GetDatum(provider);
	values[COL_RELID] = ObjectIdGetDatum(relid);
	values[COL_TABLE_NAME] =
		CStringGetTextDatum(quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													   get_rel_name(relid)));
	values[COL_TYPE] = CStringGetTextDatum(conflict_type_name(c->key.type));
	values[COL_RESOLUTION] = CStringGetTextDatum(conflict_resolution_name(c->key.resolution));
	values[COL_LAST_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	old = row_at(rel, place, values);
	if (!old)
		old = row_by_index(rel, values);
	values[COL_N] = Int64GetDatum(c->n + (old ? number_of(rel, old, COL_N) : 0));
	values[COL_NOT_LOGGED] =
		Int64GetDatum(c->not_logged + (old ? number_of(rel, old, COL_NOT_LOGGED) : 0));
	if (old)
	{
		row = heap_modify_tuple(old, RelationGetDescr(rel), values, nulls, replace);
		CatalogTupleUpdate(rel, &old->t_self, row);
	}
	else
	{
		row = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		CatalogTupleInsert(rel, row);
	}
	*place = row->t_self;
}

void
conflict_count_write(NodeId provider)
{
	HASH_SEQ_STATUS seq;
	Count	   *c;
	Relation	rel;
	MemoryContext old;

	if (!counts)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	rel = table_open(extension_relation_oid("conflict_count"), RowExclusiveLock);
	hash_seq_init(&seq, counts);
	while ((c = hash_seq_search(&seq)) != NULL)
		write_count(rel, provider, c);
	table_close(rel, NoLock);
	counts = NULL;
	MemoryContextSwitchTo(old);
}
