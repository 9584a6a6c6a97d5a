/*
 * parked.c
 *		Stores parked rows and pins: tables parked_row and row_pin.
 *
 * Both tables are small and rarely written. They are read under the newest snapshot, because
 * parked_lock() prevents others from changing the entries of a table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/fault_point.h"
#include "catalog/names.h"
#include "store/parked.h"
#include "store/row_version.h"

/* Columns of both tables; the first three are the same. */
enum
{
	ATT_RELID = 1, ATT_KEY_HASH, ATT_KEY
};

enum
{
	PARKED_TS = 4,
	PARKED_NODE,
	PARKED_ROW,
	PARKED_INDEX,
	PARKED_BLOCKED_BY,
	PARKED_AT,
	PARKED_RETRY_AT,
	PARKED_ERROR,
	PARKED_ATTS = PARKED_ERROR
};

enum
{
	PIN_WRITER = 4, PIN_TS, PIN_NODE,
	PIN_ATTS = PIN_NODE
};

/* A scan of a table's entries in one of the two tables, which is open. */
typedef struct ParkScan
{
	Relation	heap;
	SysScanDesc scan;
	Snapshot	snapshot;
	TombstoneKeys *keys;		/* NULL: entries of all keys */
	const Datum *key;
} ParkScan;

static Snapshot read_as_of = NULL;

void
parked_read_as_of(Snapshot snapshot)
{
	read_as_of = snapshot;
}

void
parked_lock(Oid relid, bool exclusive)
{
	LockDatabaseObject(extension_relation_oid(TABLE_PARKED_ROW), relid, 0,
					   exclusive ? ExclusiveLock : ShareLock);
}

void
parked_unlock_shared(Oid relid)
{
	UnlockDatabaseObject(extension_relation_oid(TABLE_PARKED_ROW), relid, 0, ShareLock);
}

/* Starts a scan for a key, or for all entries of a table (keys is NULL). */
static void
parked_start(ParkScan *s, const char *table, const char *index, Oid relid, TombstoneKeys *keys,
	  const Datum *key, LOCKMODE mode)
{
	ScanKeyData search[2];

	s->heap = table_open(extension_relation_oid(table), mode);
	s->keys = keys;
	s->key = key;
	s->snapshot = RegisterSnapshot(read_as_of ? read_as_of : GetLatestSnapshot());
	ScanKeyInit(&search[0], ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	if (keys)
		tombstone_key_search(keys, key, &search[1], ATT_KEY_HASH);
	s->scan = systable_beginscan(s->heap, extension_relation_oid(index), true, s->snapshot,
								 keys ? 2 : 1, search);
}

static void
start_parked(ParkScan *s, TombstoneKeys *keys, const Datum *key, LOCKMODE mode)
{
	parked_start(s, TABLE_PARKED_ROW, INDEX_PARKED_ROW, tombstone_relid(keys), keys, key, mode);
}

static void
start_pins(ParkScan *s, TombstoneKeys *keys, const Datum *key, LOCKMODE mode)
{
	parked_start(s, TABLE_ROW_PIN, INDEX_ROW_PIN, tombstone_relid(keys), keys, key, mode);
}

/* Returns a column that is not null. */
static Datum
parked_column(ParkScan *s, HeapTuple tuple, int attnum)
{
	bool		isnull;

	return heap_getattr(tuple, attnum, RelationGetDescr(s->heap), &isnull);
}

/* Returns the next entry, or NULL. */
static HeapTuple
parked_next(ParkScan *s)
{
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(s->scan)))
	{
		if (!s->keys ||
			tombstone_key_matches(s->keys, DatumGetByteaPP(parked_column(s, tuple, ATT_KEY)),
								  s->key))
			return tuple;
	}
	return NULL;
}

/* Ends the scan, and makes what was written during it visible. */
static void
parked_end(ParkScan *s)
{
	systable_endscan(s->scan);
	UnregisterSnapshot(s->snapshot);
	table_close(s->heap, NoLock);
	CommandCounterIncrement();
}

/*
 * Returns true if one of the two tables has an entry of table relid. Mostly the table has always
 * been empty.
 */
static bool
parked_has_any(const char *table, const char *index, Oid relid)
{
	Relation	heap = table_open(extension_relation_oid(table), AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(heap) == 0;
	ParkScan		s;
	bool		found;

	table_close(heap, NoLock);
	if (empty)
		return false;
	parked_start(&s, table, index, relid, NULL, NULL, AccessShareLock);
	found = parked_next(&s) != NULL;
	parked_end(&s);
	return found;
}

bool
parked_any(Oid relid)
{
	return parked_has_any(TABLE_PARKED_ROW, INDEX_PARKED_ROW, relid);
}

bool
parked_none(void)
{
	Relation	heap = table_open(extension_relation_oid(TABLE_PARKED_ROW), AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(heap) == 0;

	table_close(heap, NoLock);
	return empty;
}

bool
parked_has(Oid relid, int64 hash)
{
	Relation	heap = table_open(extension_relation_oid(TABLE_PARKED_ROW), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData search[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&search[0], ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&search[1], ATT_KEY_HASH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(hash));
	scan = systable_beginscan(heap, extension_relation_oid(INDEX_PARKED_ROW), true, snapshot, 2,
							  search);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(heap, NoLock);
	return found;
}

bool
pin_any(Oid relid)
{
	return parked_has_any(TABLE_ROW_PIN, INDEX_ROW_PIN, relid);
}

/* Sets the first three columns of a new entry. */
static void
put_key(TombstoneKeys *keys, const Datum *key, Datum *values)
{
	StringInfoData buf;

	initStringInfo(&buf);
	values[ATT_RELID - 1] = ObjectIdGetDatum(tombstone_relid(keys));
	values[ATT_KEY_HASH - 1] = Int64GetDatum(tombstone_key_hash(keys, key));
	values[ATT_KEY - 1] = PointerGetDatum(tombstone_key_bytes(keys, key, &buf));
}

/* ---------- parked rows ---------- */

/* Returns the version of an entry. */
static Version
read_version(ParkScan *s, HeapTuple tuple)
{
	return (Version){DatumGetInt64(parked_column(s, tuple, PARKED_TS)),
					 DatumGetInt32(parked_column(s, tuple, PARKED_NODE))};
}

/* Returns the contents of an entry. */
static ParkedRow
read_parked(ParkScan *s, HeapTuple tuple)
{
	bytea	   *row = DatumGetByteaPCopy(parked_column(s, tuple, PARKED_ROW));
	ParkedRow	p = {
		.version = read_version(s, tuple),
		.index_id = DatumGetObjectId(parked_column(s, tuple, PARKED_INDEX)),
		.blocked_by = DatumGetByteaPCopy(parked_column(s, tuple, PARKED_BLOCKED_BY))
	};

	p.row = (Sibling) {.version = p.version,.row = VARDATA(row),.len = VARSIZE(row) - VARHDRSZ};
	return p;
}

bool
parked_find(TombstoneKeys *keys, const Datum *key, ParkedRow *found)
{
	ParkScan		s;
	HeapTuple	tuple;

	start_parked(&s, keys, key, AccessShareLock);
	tuple = parked_next(&s);
	if (tuple)
		*found = read_parked(&s, tuple);
	parked_end(&s);
	return tuple != NULL;
}

bool
parked_remove(TombstoneKeys *keys, const Datum *key)
{
	ParkScan		s;
	HeapTuple	tuple;
	bool		found = false;

	start_parked(&s, keys, key, RowExclusiveLock);
	while ((tuple = parked_next(&s)) != NULL)
	{
		CatalogTupleDelete(s.heap, &tuple->t_self);
		found = true;
	}
	parked_end(&s);
	if (found)
		FAULT_POINT("parked_row_removed");
	return found;
}

bool
parked_store(TombstoneKeys *keys, const Datum *key, const ParkedRow *row)
{
	bool		found = parked_remove(keys, key);
	Relation	heap = table_open(extension_relation_oid(TABLE_PARKED_ROW), RowExclusiveLock);
	Datum		values[PARKED_ATTS];
	bool		nulls[PARKED_ATTS] = {0};
	bytea	   *bytes = palloc(VARHDRSZ + row->row.len);

	SET_VARSIZE(bytes, VARHDRSZ + row->row.len);
	memcpy(VARDATA(bytes), row->row.row, row->row.len);
	put_key(keys, key, values);
	values[PARKED_TS - 1] = Int64GetDatum(row->version.ts);
	values[PARKED_NODE - 1] = Int32GetDatum(row->version.node);
	values[PARKED_ROW - 1] = PointerGetDatum(bytes);
	values[PARKED_INDEX - 1] = ObjectIdGetDatum(row->index_id);
	values[PARKED_BLOCKED_BY - 1] = PointerGetDatum(row->blocked_by);
	values[PARKED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[PARKED_RETRY_AT - 1] = nulls[PARKED_ERROR - 1] = true;
	CatalogTupleInsert(heap, heap_form_tuple(RelationGetDescr(heap), values, nulls));
	table_close(heap, NoLock);
	CommandCounterIncrement();
	FAULT_POINT("parked_row_stored");
	return found;
}

void
parked_note_error(TombstoneKeys *keys, const Datum *key, const char *error, int seconds)
{
	ParkScan		s;
	HeapTuple	tuple;

	start_parked(&s, keys, key, RowExclusiveLock);
	if ((tuple = parked_next(&s)) != NULL)
	{
		Datum		values[PARKED_ATTS] = {0};
		bool		nulls[PARKED_ATTS] = {0};
		bool		replaced[PARKED_ATTS] = {0};

		replaced[PARKED_RETRY_AT - 1] = replaced[PARKED_ERROR - 1] = true;
		values[PARKED_RETRY_AT - 1] = TimestampTzGetDatum(
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds * INT64CONST(1000)));
		values[PARKED_ERROR - 1] = CStringGetTextDatum(error);
		tuple = heap_modify_tuple(tuple, RelationGetDescr(s.heap), values, nulls, replaced);
		CatalogTupleUpdate(s.heap, &tuple->t_self, tuple);
	}
	parked_end(&s);
}

/* List comparator: newest first; equal versions in an order that is the same on all nodes. */
static int
newest_first(const ListCell *a, const ListCell *b)
{
	const ParkedEntry *x = lfirst(a);
	const ParkedEntry *y = lfirst(b);
	int			c = version_cmp(y->version, x->version);

	if (c == 0 && x->key_hash != y->key_hash)
		c = x->key_hash < y->key_hash ? 1 : -1;
	return c;
}

List *
parked_list(Oid relid, Snapshot snapshot, bool rows)
{
	List	   *list = NIL;
	ParkScan	s = {.heap = table_open(extension_relation_oid(TABLE_PARKED_ROW), AccessShareLock)};
	ScanKeyData search;
	HeapTuple	tuple;
	TimestampTz now = GetCurrentTimestamp();

	ScanKeyInit(&search, ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	snapshot = RegisterSnapshot(snapshot);
	s.scan = systable_beginscan(s.heap, extension_relation_oid(INDEX_PARKED_ROW), true, snapshot, 1,
								&search);
	while ((tuple = systable_getnext(s.scan)) != NULL)
	{
		ParkedEntry *e = palloc0(sizeof(ParkedEntry));
		bool		isnull;
		Datum retry_at = heap_getattr(tuple, PARKED_RETRY_AT, RelationGetDescr(s.heap), &isnull);

		e->later = !isnull && DatumGetTimestampTz(retry_at) > now;
		e->key = DatumGetByteaPCopy(parked_column(&s, tuple, ATT_KEY));
		e->key_hash = DatumGetInt64(parked_column(&s, tuple, ATT_KEY_HASH));
		e->version = read_version(&s, tuple);
		if (rows)
			e->parked = read_parked(&s, tuple);
		list = lappend(list, e);
	}
	systable_endscan(s.scan);
	UnregisterSnapshot(snapshot);
	table_close(s.heap, NoLock);
	list_sort(list, newest_first);
	return list;
}

/* ---------- pins ---------- */

bool
pin_find(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version *version)
{
	ParkScan		s;
	HeapTuple	tuple;

	start_pins(&s, keys, key, AccessShareLock);
	while ((tuple = parked_next(&s)) != NULL &&
		   DatumGetInt64(parked_column(&s, tuple, PIN_WRITER)) != writer)
		;
	if (tuple)
		*version = (Version){DatumGetInt64(parked_column(&s, tuple, PIN_TS)),
							 DatumGetInt32(parked_column(&s, tuple, PIN_NODE))};
	parked_end(&s);
	if (tuple && version_cmp(*version, PIN_OF_WRITER) == 0)
		*version = row_version(writer, VERSION_SELF);
	return tuple != NULL;
}

void
pin_remove(TombstoneKeys *keys, const Datum *key)
{
	ParkScan		s;
	HeapTuple	tuple;

	start_pins(&s, keys, key, RowExclusiveLock);
	while ((tuple = parked_next(&s)) != NULL)
		CatalogTupleDelete(s.heap, &tuple->t_self);
	parked_end(&s);
}

void
pin_store(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version version)
{
	pin_remove(keys, key);
	pin_add(keys, key, writer, version);
	CommandCounterIncrement();
}

void
pin_add(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version version)
{
	Relation	heap;
	Datum		values[PIN_ATTS];
	bool		nulls[PIN_ATTS] = {0};

	heap = table_open(extension_relation_oid(TABLE_ROW_PIN), RowExclusiveLock);
	put_key(keys, key, values);
	values[PIN_WRITER - 1] = Int64GetDatum(writer);
	values[PIN_TS - 1] = Int64GetDatum(version.ts);
	values[PIN_NODE - 1] = Int32GetDatum(version.node);
	CatalogTupleInsert(heap, heap_form_tuple(RelationGetDescr(heap), values, nulls));
	table_close(heap, NoLock);
}

List *
pin_list(Oid relid)
{
	List	   *list = NIL;
	ParkScan		s;
	HeapTuple	tuple;

	parked_start(&s, TABLE_ROW_PIN, INDEX_ROW_PIN, relid, NULL, NULL, AccessShareLock);
	while ((tuple = parked_next(&s)) != NULL)
		list = lappend(list, DatumGetByteaPCopy(parked_column(&s, tuple, ATT_KEY)));
	parked_end(&s);
	return list;
}

/* Deletes all entries of a table from one of the two tables. */
static void
parked_forget(const char *table, const char *index, Oid relid)
{
	ParkScan	s;
	HeapTuple	tuple;

	parked_start(&s, table, index, relid, NULL, NULL, RowExclusiveLock);
	while ((tuple = parked_next(&s)) != NULL)
		CatalogTupleDelete(s.heap, &tuple->t_self);
	parked_end(&s);
}

void
parked_forget_all(Oid relid)
{
	parked_lock(relid, true);
	parked_forget(TABLE_PARKED_ROW, INDEX_PARKED_ROW, relid);
	parked_forget(TABLE_ROW_PIN, INDEX_ROW_PIN, relid);
}
