/*
 * tombstone.c
 *		Stores tombstones, the records of deletes.
 *
 * A tombstone is a row of replication_plugin.tombstone: the table (its partition root), a hash of
 * the key, and the key as a wire tuple in key index order. As for any row, its own xmin gives the
 * version of the delete. The hash matches the equality of the key's types (key_hash.c), so that
 * keys that are equal but not identical (1.0 and 1.00, texts under a case-insensitive collation)
 * hash alike. Candidates are compared by the types' equality operators.
 *
 * Invariant: the version of a live row is newer than any tombstone of its key that its node knows.
 * Updates that find their row therefore need not search for tombstones.
 *
 * A key can have several tombstones; the newest counts.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/session.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "shared/newest_delete.h"
#include "store/key_hash.h"
#include "store/row_version.h"
#include "store/tombstone.h"
#include "wire/value.h"

#define ATT_RELID		1
#define ATT_KEY_HASH	2
#define ATT_KEY			3
#define NATTS			3

#define BATCH_ROWS		500		/* limit of gathered tombstones of one transaction */

static const char delete_tombstones_sql[] =
	"DELETE FROM " EXTENSION_SCHEMA "." TABLE_TOMBSTONE " WHERE relid = $1";

typedef struct KeyColumn
{
	Oid			typid;
	Oid			collation;
	ValueWriter writer;
	ValueReader reader;
	KeyHash    *hash;
	FmgrInfo	eq;
} KeyColumn;

struct TombstoneKeys
{
	Oid			relid;
	int			n;
	KeyColumn  *columns;
	bool		users;			/* a type is not built in */
	WireTuple	scratch;
};

/* The open tombstone table; it stays open only between begin and end. */
typedef struct Store
{
	bool		kept;			/* between begin and end */
	Relation	heap;
	Relation	index;
	IndexInfo  *index_info;
	IndexScanDesc scan;
	TupleTableSlot *found;
	TupleTableSlot *slots[BATCH_ROWS];
	int			nslots;			/* created */
	int			nrows;			/* filled */
	bool		send;			/* of the gathered rows */
	MemoryContext context;		/* lives as long as the store is open */
	/* of scan: what is committed, own writes, and, with xmin set, writes in progress */
	SnapshotData dirty;
} Store;

/*
 * The store of the running transaction. A process has one transaction at a time, whichever applier
 * or reader uses it.
 */
static Store store;

/* ---------- keys ---------- */

/* Prepares one key column. */
static void
init_column(KeyColumn *c, Form_pg_attribute att, Oid collation)
{
	TypeCacheEntry *type = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR_FINFO);
	WireAttribute same = {.name = NameStr(att->attname), .typid = att->atttypid,
		.typmod = att->atttypmod,.typschema = "",.typname = ""};

	c->typid = att->atttypid;
	c->collation = collation;
	value_writer_init(&c->writer, att->atttypid, true);
	value_reader_init(&c->reader, &same, att->atttypid, att->atttypmod);
	value_reader_trust(&c->reader);
	c->hash = key_hash_make(att->atttypid);
	if (!OidIsValid(type->eq_opr_finfo.fn_oid))
		elog(ERROR, "key type %u has no equality operator", att->atttypid);
	fmgr_info(type->eq_opr_finfo.fn_oid, &c->eq);
}

TombstoneKeys *
tombstone_keys(Relation root)
{
	TombstoneKeys *k = palloc0(sizeof(TombstoneKeys));
	AttrNumber *attnums;
	Relation	index;

	k->relid = RelationGetRelid(root);
	k->n = table_key_attributes(root, &attnums);
	if (k->n == 0)
		elog(ERROR, "table \"%s\" has no key", RelationGetRelationName(root));
	k->columns = palloc0(k->n * sizeof(KeyColumn));
	wire_tuple_init(&k->scratch, CurrentMemoryContext);
	index = index_open(table_key_index(root), AccessShareLock);
	for (int i = 0; i < k->n; i++)
	{
		init_column(&k->columns[i], TupleDescAttr(RelationGetDescr(root), attnums[i] - 1),
					index->rd_indcollation[i]);
		k->users |= k->columns[i].typid >= FirstNormalObjectId;
	}
	index_close(index, AccessShareLock);
	pfree(attnums);
	return k;
}

int
tombstone_nkeys(const TombstoneKeys *k)
{
	return k->n;
}

bool
tombstone_users_types(const TombstoneKeys *k)
{
	return k->users;
}

Oid
tombstone_relid(const TombstoneKeys *k)
{
	return k->relid;
}

/*
 * Hashes a key so that equal keys hash alike. A single integer is its own hash, so that keys that
 * are deleted in order also arrive in order in the index.
 */
int64
tombstone_key_hash(TombstoneKeys *k, const Datum *key)
{
	uint64		h = 0;

	if (k->n == 1)
	{
		switch (k->columns[0].typid)
		{
			case INT2OID:
				return DatumGetInt16(key[0]);
			case INT4OID:
				return DatumGetInt32(key[0]);
			case INT8OID:
				return DatumGetInt64(key[0]);
			default:
				break;
		}
	}

	for (int i = 0; i < k->n; i++)
		h = hash_combine64(h, key_hash(k->columns[i].hash, k->columns[i].collation, key[i]));
	return (int64) h;
}

/* Returns the hash of a key that version 1.0 stored. */
static int64
hash_before(TombstoneKeys *k, const Datum *key)
{
	uint64		h = 0;

	for (int i = 0; i < k->n; i++)
		h = hash_combine64(h, key_hash_before(k->columns[i].hash, k->columns[i].collation, key[i]));
	return (int64) h;
}

void
tombstone_key_search(TombstoneKeys *k, const Datum *key, ScanKey search, AttrNumber attnum)
{
	Datum		hashes[2] = {Int64GetDatum(tombstone_key_hash(k, key))};
	bool		differs = false;

	for (int i = 0; i < k->n; i++)
		differs |= key_hash_differs(k->columns[i].hash);
	if (!differs)
	{
		ScanKeyInit(search, attnum, BTEqualStrategyNumber, F_INT8EQ, hashes[0]);
		return;
	}
	hashes[1] = Int64GetDatum(hash_before(k, key));
	ScanKeyEntryInitialize(search, SK_SEARCHARRAY, attnum, BTEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8EQ,
						   PointerGetDatum(construct_array(hashes, 2, INT8OID, sizeof(int64),
														   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

/* Appends a key as a wire tuple after a varlena header. Returns the bytea. */
bytea *
tombstone_key_bytes(TombstoneKeys *k, const Datum *key, StringInfo buf)
{
	appendStringInfoSpaces(buf, VARHDRSZ);
	wire_write_tuple_head(buf, k->n);
	for (int i = 0; i < k->n; i++)
		value_write(buf, &k->columns[i].writer, key[i]);
	SET_VARSIZE(buf->data, buf->len);
	return (bytea *) buf->data;
}

/*
 * Reads a stored key into k->scratch. Returns false if the key had other columns, or types, when it
 * was stored.
 */
static bool
tombstone_read_stored(TombstoneKeys *k, bytea *stored)
{
	WireReader	r = {.data = VARDATA_ANY(stored),.len = VARSIZE_ANY_EXHDR(stored)};

	wire_read_tuple(&r, &k->scratch);
	if (k->scratch.ncolumns != k->n)
		return false;
	for (int i = 0; i < k->n; i++)
	{
		WireColumn *c = &k->scratch.columns[i];

		if (c->kind == WIRE_INTERNAL && k->columns[i].reader.typlen > 0 &&
			c->len != k->columns[i].reader.typlen)
			return false;
	}
	return true;
}

bool
tombstone_key_matches(TombstoneKeys *k, bytea *stored, const Datum *key)
{
	Assert(!k->users || session_in_row());
	if (!tombstone_read_stored(k, stored))
		return false;
	for (int i = 0; i < k->n; i++)
	{
		KeyColumn  *c = &k->columns[i];
		Datum		value = value_read(&c->reader, &k->scratch.columns[i]);

		if (!DatumGetBool(FunctionCall2Coll(&c->eq, c->collation, value, key[i])))
			return false;
	}
	return true;
}

bool
tombstone_key_values(TombstoneKeys *k, bytea *stored, Datum *key)
{
	if (!tombstone_read_stored(k, stored))
		return false;
	for (int i = 0; i < k->n; i++)
		key[i] = value_read(&k->columns[i].reader, &k->scratch.columns[i]);
	return true;
}

/* ---------- the table ---------- */

/* Opens the tombstone table, unless it is already open. */
static void
tombstone_open_store(void)
{
	MemoryContext old;
	bool		kept = store.kept;

	if (store.heap && kept)
		return;

	/*
	 * Outside begin ... end, every call closes what it opens. Whatever is left over belongs to a
	 * failed call, and ended with its transaction.
	 */
	memset(&store, 0, sizeof(store));
	store.kept = kept;
	store.context = AllocSetContextCreate(TopTransactionContext, "tombstones",
										  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(store.context);
	store.heap = table_open(extension_relation_oid(TABLE_TOMBSTONE), RowExclusiveLock);
	store.index = index_open(extension_relation_oid(INDEX_TOMBSTONE), RowExclusiveLock);
	store.index_info = BuildIndexInfo(store.index);
	store.found = table_slot_create(store.heap, NULL);
	store.scan = NULL;
	store.nslots = 0;
	store.nrows = 0;
	MemoryContextSwitchTo(old);
}

/* Writes the gathered tombstones. */
static void
flush_store(void)
{
	CommandId	cid;

	Assert(store.nrows >= 0 && store.nrows <= store.nslots && store.nslots <= BATCH_ROWS);
	if (store.nrows == 0)
		return;
	cid = GetCurrentCommandId(true);
	if (store.nrows == 1)
		table_tuple_insert(store.heap, store.slots[0], cid,
						   store.send ? 0 : TABLE_INSERT_NO_LOGICAL, NULL);
	else
		table_multi_insert(store.heap, store.slots, store.nrows, cid, 0, NULL);
	for (int i = 0; i < store.nrows; i++)
	{
		TupleTableSlot *slot = store.slots[i];
		Datum		values[2] = {slot->tts_values[0], slot->tts_values[1]};
		bool		isnull[2] = {false, false};

		index_insert(store.index, values, isnull, &slot->tts_tid, store.heap,
					 UNIQUE_CHECK_NO, false, store.index_info);
		ExecClearTuple(slot);
	}
	store.nrows = 0;
	CommandCounterIncrement();
}

/* Writes the gathered tombstones and closes the table. */
static void
tombstone_close_store(void)
{
	if (!store.heap)
		return;
	flush_store();
	if (store.scan)
		index_endscan(store.scan);
	ExecDropSingleTupleTableSlot(store.found);
	for (int i = 0; i < store.nslots; i++)
		ExecDropSingleTupleTableSlot(store.slots[i]);
	index_close(store.index, NoLock);
	table_close(store.heap, NoLock);
	MemoryContextDelete(store.context);
	memset(&store, 0, sizeof(store));
}

void
tombstone_begin_transaction(void)
{
	store.kept = true;
}

void
tombstone_end_transaction(void)
{
	tombstone_close_store();
	store.kept = false;
}

void
tombstone_flush(void)
{
	flush_store();
}

void
tombstone_abort_transaction(void)
{
	/* the abort has closed the relations and scans, and freed the memory */
	memset(&store, 0, sizeof(store));
}

void
tombstone_write(TombstoneKeys *k, const Datum *key, bool send)
{
	TupleTableSlot *slot;
	StringInfoData buf;
	MemoryContext old;

	newest_delete_writing(k->relid);
	tombstone_open_store();
	if (store.send != send)
		flush_store();
	store.send = send;
	old = MemoryContextSwitchTo(store.context);
	if (store.nrows == store.nslots)
		store.slots[store.nslots++] = table_slot_create(store.heap, NULL);
	slot = store.slots[store.nrows];
	ExecClearTuple(slot);
	MemoryContextSwitchTo(old);

	initStringInfo(&buf);
	slot->tts_values[ATT_RELID - 1] = ObjectIdGetDatum(k->relid);
	slot->tts_values[ATT_KEY_HASH - 1] = Int64GetDatum(tombstone_key_hash(k, key));
	slot->tts_values[ATT_KEY - 1] = PointerGetDatum(tombstone_key_bytes(k, key, &buf));
	memset(slot->tts_isnull, 0, NATTS * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	slot_getallattrs(slot);
	pfree(buf.data);
	store.nrows++;
	if (!store.kept)
		tombstone_close_store();
	else if (store.nrows == BATCH_ROWS)
		flush_store();
}

/*
 * Starts a scan for the hash of a key; the scan is kept for the next call. It also shows tombstones
 * of transactions in progress (store.dirty.xmin is set then), because a put and a delete of one key
 * that are applied at the same time must not miss each other.
 */
static IndexScanDesc
tombstone_start_scan(TombstoneKeys *k, const Datum *key)
{
	ScanKeyData keys[2];
	MemoryContext old = MemoryContextSwitchTo(store.context);

	InitDirtySnapshot(store.dirty);
	ScanKeyInit(&keys[0], ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(k->relid));
	tombstone_key_search(k, key, &keys[1], ATT_KEY_HASH);
	if (!store.scan)
		store.scan = begin_index_scan(store.heap, store.index, &store.dirty, lengthof(keys));
	index_rescan(store.scan, keys, lengthof(keys), NULL, 0);
	MemoryContextSwitchTo(old);
	return store.scan;
}

/* Finds the next row of a scan. Whatever this allocates lives as long as the scan. */
static bool
tombstone_next_row(IndexScanDesc scan)
{
	MemoryContext old = MemoryContextSwitchTo(store.context);
	bool		found = index_getnext_slot(scan, ForwardScanDirection, store.found);

	MemoryContextSwitchTo(old);
	return found;
}

bool
tombstone_find(TombstoneKeys *k, const Datum *key, Version own, Version *newest)
{
	IndexScanDesc scan;
	bool		found = false;

	tombstone_open_store();
	flush_store();
again:
	found = false;
	scan = tombstone_start_scan(k, key);
	while (tombstone_next_row(scan))
	{
		TransactionId writer = store.dirty.xmin;
		Version		v;
		bool		isnull;
		Datum		stored = slot_getattr(store.found, ATT_KEY, &isnull);

		if (!tombstone_key_matches(k, DatumGetByteaPP(stored), key))
			continue;
		if (TransactionIdIsValid(writer))
		{
			ExecClearTuple(store.found);
			XactLockTableWait(writer, store.heap, NULL, XLTW_None);
			goto again;
		}
		v = row_version_of_slot(store.found, own);
		if (!found || version_cmp(v, *newest) > 0)
			*newest = v;
		found = true;
	}
	ExecClearTuple(store.found);
	if (!store.kept)
		tombstone_close_store();
	return found;
}

bool
tombstone_visible(TombstoneKeys *k, const Datum *key, Snapshot snapshot, Version *newest)
{
	Relation	heap = table_open(extension_relation_oid(TABLE_TOMBSTONE), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	/* the transactions that wrote its rows have committed, but may not have ended */
	snapshot = RegisterSnapshot(snapshot);
	ScanKeyInit(&keys[0], ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(k->relid));
	tombstone_key_search(k, key, &keys[1], ATT_KEY_HASH);
	scan =
		systable_beginscan(heap, extension_relation_oid(INDEX_TOMBSTONE), true, snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TransactionId writer = HeapTupleHeaderGetRawXmin(tuple->t_data);
		Version		v;
		bool		isnull;

		if (!tombstone_key_matches(k,
								   DatumGetByteaPP(heap_getattr(tuple, ATT_KEY,
																RelationGetDescr(heap), &isnull)),
								   key))
			continue;
		v = TransactionIdIsInProgress(writer) ? VERSION_SELF : row_version(writer, VERSION_SELF);
		if (!found || version_cmp(v, *newest) > 0)
			*newest = v;
		found = true;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(heap, AccessShareLock);
	return found;
}

void
tombstone_forget_all(Oid relid)
{
	Oid			types[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	int			nest;

	nest = session_sql_begin();
	if (SPI_execute_with_args(delete_tombstones_sql, 1, types, args, NULL, false,
							  0) != SPI_OK_DELETE)
		elog(ERROR, "could not forget the tombstones of table %u", relid);
	session_sql_end(nest);
}

void
tombstone_look(void)
{
	Relation	heap = table_open(extension_relation_oid(TABLE_TOMBSTONE), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = begin_table_scan(heap, snapshot);
	TupleTableSlot *slot = table_slot_create(heap, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		newest_delete_look_note(DatumGetObjectId(slot_getattr(slot, ATT_RELID, &isnull)),
								row_version_of_slot(slot, VERSION_OLDEST));
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(heap, AccessShareLock);
}

void
tombstone_collect(BlockNumber from, BlockNumber to, TransactionId before,
				  bool (*keep) (Oid relid, int64 hash, const void *arg), const void *arg)
{
	Relation	heap = table_open(extension_relation_oid(TABLE_TOMBSTONE), RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	CommandId	cid = GetCurrentCommandId(true);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	ItemPointerData first,
				last;
	TableScanDesc scan;

	ItemPointerSet(&first, from, FirstOffsetNumber);
	ItemPointerSet(&last, to - 1, MaxOffsetNumber);
	scan = begin_range_scan(heap, snapshot, &first, &last);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		TransactionId xmin =
			DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));
		TM_FailureData failure;

		/* another process may delete it first, as the table is no longer replicated */
		if (TransactionIdPrecedes(xmin, before) &&
			!(keep && keep(DatumGetObjectId(slot_getattr(slot, ATT_RELID, &isnull)),
						   DatumGetInt64(slot_getattr(slot, ATT_KEY_HASH, &isnull)), arg)))
			(void) delete_tuple(heap, &slot->tts_tid, cid, snapshot, &failure);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(heap, NoLock);
}
