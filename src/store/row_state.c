/*
 * row_state.c
 *		Stores the siblings of rows of mergeable tables: table row_state.
 *
 * The column state has: u8 format (3), u16 number of siblings (0: the heap row is the only one),
 * and for each sibling: u8 flags (1 plain, 2 deleted, 4 of the transaction that stored the state),
 * u32 node and u64 timestamp (0 with flag 4), u32 length, row (none if deleted). The row has: u16
 * n; n times a u16 attribute number with a u32 type, which the column had then; and a wire tuple in
 * internal form. Then follow: u16 number of merged columns, and for each: u16 attribute number, u32
 * length, bytes of model/merge.h. Integers are in network byte order. Columns that were added later
 * have the values that ALTER TABLE gave existing rows.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupdesc_details.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "libpq/pqformat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "model/merge.h"
#include "store/row_state.h"
#include "store/row_version.h"
#include "wire/value.h"

/* Columns of row_state. */
enum
{
	ATT_RELID = 1,
	ATT_KEY_HASH,
	ATT_KEY,
	ATT_SIBLINGS,
	ATT_DELETED,
	ATT_MERGED,
	ATT_NEWEST,
	ATT_NEWEST_NODE,
	ATT_STATE,
	N_ATTS = ATT_STATE
};

#define FORMAT			3
#define FLAG_PLAIN		1
#define FLAG_DELETED	2
#define FLAG_SELF		4

struct RowCodec
{
	int			n;
	AttrNumber *attnums;
	ValueWriter *writers;
	ValueReader *readers;
	WireTuple	scratch;
};

/* ---------- rows ---------- */

RowCodec *
row_codec(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *sent = table_sent_columns(rel);
	RowCodec   *c = palloc0(sizeof(RowCodec));

	c->attnums = palloc(desc->natts * sizeof(AttrNumber));
	c->writers = palloc0(desc->natts * sizeof(ValueWriter));
	c->readers = palloc0(desc->natts * sizeof(ValueReader));
	wire_tuple_init(&c->scratch, CurrentMemoryContext);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		WireAttribute	  same = {.name = NameStr(att->attname),
								  .typid = att->atttypid,
								  .typmod = att->atttypmod,
								  .typschema = "",
								  .typname = ""};

		if (!bms_is_member(att->attnum, sent))
			continue;
		c->attnums[c->n] = att->attnum;
		value_writer_init(&c->writers[c->n], att->atttypid, true);
		value_reader_init(&c->readers[c->n], &same, att->atttypid, att->atttypmod);
		value_reader_trust(&c->readers[c->n]);
		c->n++;
	}
	return c;
}

bool
row_codec_runs_code(const RowCodec *c)
{
	for (int i = 0; i < c->n; i++)
	{
		if (c->readers[i].runs_code)
			return true;
	}
	return false;
}

int
row_codec_place(RowCodec *c, AttrNumber attnum)
{
	for (int i = 0; i < c->n; i++)
	{
		if (c->attnums[i] == attnum)
			return i;
	}
	elog(ERROR, "column %d is not replicated", attnum);
	return -1;
}

void
row_encode(RowCodec *c, TupleTableSlot *slot, StringInfo out)
{
	slot_getallattrs(slot);
	wire_write_tuple_head(out, c->n);
	for (int i = 0; i < c->n; i++)
	{
		int			att = c->attnums[i] - 1;

		if (slot->tts_isnull[att])
			wire_write_null(out);
		else
			value_write(out, &c->writers[i], slot->tts_values[att]);
	}
}

/*
 * Appends the row of a sibling: u16 n; n times a u16 attribute number and a u32 type; wire tuple.
 */
static void
append_sibling_row(RowCodec *c, TupleTableSlot *slot, StringInfo out)
{
	pq_sendint16(out, c->n);
	for (int i = 0; i < c->n; i++)
	{
		pq_sendint16(out, c->attnums[i]);
		pq_sendint32(out, c->readers[i].typid);
	}
	row_encode(c, slot, out);
}

/* Reads a value that was stored when its column had another type. */
static Datum
read_converted(const ValueReader *now, Oid typid, const WireColumn *column)
{
	const WireAttribute then = {.name = "",
								.typid = typid,
								.typmod = -1,
								.typschema = "",
								.typname = ""};
	ValueReader reader;

	value_reader_init(&reader, &then, now->typid, now->typmod);
	return value_read(&reader, column);
}

/* Sets the columns that the table got after the row was stored to their missing values. */
static void
set_missing(TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	memset(slot->tts_isnull, true, desc->natts * sizeof(bool));
	for (int i = 0; i < desc->natts && desc->constr && desc->constr->missing; i++)
	{
		if (desc->constr->missing[i].am_present)
			slot->tts_values[i] = getmissingattr(desc, i + 1, &slot->tts_isnull[i]);
	}
}

void
row_decode(RowCodec *c, const Sibling *s, TupleTableSlot *slot)
{
	StringInfoData in = {.data = (char *) s->row,.len = s->len,.maxlen = s->len};
	int			n = pq_getmsgint(&in, 2);
	AttrNumber *attnums = palloc(Max(n, 1) * sizeof(AttrNumber));
	Oid		   *types = palloc(Max(n, 1) * sizeof(Oid));
	WireReader	r;

	for (int i = 0; i < n; i++)
	{
		attnums[i] = pq_getmsgint(&in, 2);
		types[i] = pq_getmsgint(&in, 4);
	}
	r = (WireReader) {.data = in.data,.len = in.len,.pos = in.cursor};
	wire_read_tuple(&r, &c->scratch);
	ExecClearTuple(slot);
	set_missing(slot);
	for (int i = 0; i < c->scratch.ncolumns && i < n; i++)
	{
		WireColumn *column = &c->scratch.columns[i];

		for (int k = 0; k < c->n; k++)
		{
			if (c->attnums[k] != attnums[i])
				continue;
			slot->tts_isnull[attnums[i] - 1] = column->kind == WIRE_NULL;
			if (column->kind != WIRE_NULL)
				slot->tts_values[attnums[i] - 1] =
					types[i] == c->readers[k].typid
						? value_read(&c->readers[k], column)
						: read_converted(&c->readers[k], types[i], column);
		}
	}
	ExecStoreVirtualTuple(slot);
}

Sibling
row_sibling(RowCodec *c, Version version, TupleTableSlot *slot)
{
	StringInfoData buf;

	if (!slot)
		return (Sibling) {.version = version,.deleted = true};
	initStringInfo(&buf);
	append_sibling_row(c, slot, &buf);
	return (Sibling) {.version = version,.row = buf.data,.len = buf.len};
}

/* ---------- the stored form ---------- */

/* If there are this many siblings or more, four more bytes have their number. */
#define MANY	65535

/* Returns a state in its stored form. */
static bytea *
encode_state(const SiblingSet *set, const ColumnState *columns, int ncolumns)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoSpaces(&buf, VARHDRSZ);
	pq_sendint8(&buf, FORMAT);
	pq_sendint16(&buf, Min(set->n, MANY));
	if (set->n >= MANY)
		pq_sendint32(&buf, set->n);
	for (int i = 0; i < set->n; i++)
	{
		const Sibling *s = &set->items[i];
		bool		self = version_is_self(s->version);

		pq_sendint8(&buf, (s->plain ? FLAG_PLAIN : 0) | (s->deleted ? FLAG_DELETED : 0) |
							  (self ? FLAG_SELF : 0));
		pq_sendint32(&buf, self ? 0 : s->version.node);
		pq_sendint64(&buf, self ? 0 : s->version.ts);
		pq_sendint32(&buf, s->deleted ? 0 : s->len);
		if (!s->deleted)
			appendBinaryStringInfo(&buf, s->row, s->len);
	}
	pq_sendint16(&buf, ncolumns);
	for (int i = 0; i < ncolumns; i++)
	{
		pq_sendint16(&buf, columns[i].attnum);
		pq_sendint32(&buf, VARSIZE_ANY_EXHDR(columns[i].state));
		appendBinaryStringInfo(&buf, VARDATA_ANY(columns[i].state),
							   VARSIZE_ANY_EXHDR(columns[i].state));
	}
	SET_VARSIZE(buf.data, buf.len);
	return (bytea *) buf.data;
}

/* Raises the error that a stored state is corrupted. */
static void
row_state_spoilt(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a stored row state is spoilt: %s", what)));
}

/* Reads the siblings. self: the version of the transaction that stored them. */
static SiblingSet *
read_set(StringInfo in, Version self)
{
	SiblingSet *set = sibling_set_create();
	int			n = pq_getmsgint(in, 2);

	if (n == MANY)
		n = pq_getmsgint(in, 4);
	for (int i = 0; i < n; i++)
	{
		int			flags = pq_getmsgbyte(in);
		Sibling		s = {.plain = flags & FLAG_PLAIN,.deleted = flags & FLAG_DELETED};

		s.version.node = (NodeId) pq_getmsgint(in, 4);
		s.version.ts = pq_getmsgint64(in);
		if (flags & FLAG_SELF)
			s.version = self;
		s.len = (int) pq_getmsgint(in, 4);
		if (!s.deleted)
			s.row = pq_getmsgbytes(in, s.len);
		sibling_add(set, s);
	}
	return set;
}

/* Reads the states of merged columns. */
static ColumnState *
row_state_read_columns(StringInfo in, Version self, int *n)
{
	ColumnState *columns;

	*n = pq_getmsgint(in, 2);
	columns = palloc(Max(*n, 1) * sizeof(ColumnState));
	for (int i = 0; i < *n; i++)
	{
		int			len;
		const char *bytes;
		bytea	   *state;

		columns[i].attnum = (AttrNumber) pq_getmsgint(in, 2);
		if (columns[i].attnum <= 0)
			row_state_spoilt("a column's number is impossible");
		len = (int) pq_getmsgint(in, 4);
		bytes = pq_getmsgbytes(in, len);	/* refuses a length that cannot be */
		state = palloc(VARHDRSZ + len);
		SET_VARSIZE(state, VARHDRSZ + len);
		memcpy(VARDATA(state), bytes, len);
		columns[i].state = version_is_self(self) ? state : merge_state_resolve(state, self);
	}
	return columns;
}

/* Reads a state. self: the version of the transaction that stored it. */
static void
decode_state(bytea *bytes, Version self, RowState *state)
{
	StringInfoData in = {.data = VARDATA_ANY(bytes),
						 .len = VARSIZE_ANY_EXHDR(bytes),
						 .maxlen = VARSIZE_ANY_EXHDR(bytes)};

	if (pq_getmsgbyte(&in) != FORMAT)
		row_state_spoilt("its format is unknown");
	state->set = read_set(&in, self);
	state->columns = row_state_read_columns(&in, self, &state->ncolumns);
}

bool
row_state_forgettable(bytea *bytes, bool live, Version self, const Frontier *through)
{
	RowState	state;

	decode_state(bytes, self, &state);
	for (int i = 0; i < state.set->n; i++)
	{
		const Sibling *s = &state.set->items[i];
		TimestampTz seen = frontier_ts(through, s->version.node);

		if (!s->deleted ||
			(!version_is_oldest(s->version) && seen != PG_INT64_MIN && s->version.ts > seen))
			return false;
	}
	for (int i = 0; i < state.ncolumns; i++)
	{
		if (!merge_forgettable(state.columns[i].state, live, through))
			return false;
	}
	return true;
}

/* ---------- the table ---------- */

typedef struct Store
{
	Relation	heap;
	Relation	index;
	TupleTableSlot *slot;
} Store;

static void
row_state_open_store(Store *s, LOCKMODE mode)
{
	s->heap = table_open(extension_relation_oid(TABLE_ROW_STATE), mode);
	s->index = index_open(extension_relation_oid(INDEX_ROW_STATE), mode);
	s->slot = table_slot_create(s->heap, NULL);
}

static void
row_state_close_store(Store *s)
{
	ExecDropSingleTupleTableSlot(s->slot);
	index_close(s->index, NoLock);
	table_close(s->heap, NoLock);
}

/* Starts the search for a key. The caller ends it with index_endscan(). */
static IndexScanDesc
start_search(Store *s, TombstoneKeys *keys, const Datum *key, Snapshot snapshot)
{
	ScanKeyData search[2];
	IndexScanDesc scan = begin_index_scan(s->heap, s->index, snapshot, 2);

	ScanKeyInit(&search[0], ATT_RELID, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(tombstone_relid(keys)));
	tombstone_key_search(keys, key, &search[1], ATT_KEY_HASH);
	index_rescan(scan, search, 2, NULL, 0);
	return scan;
}

/* Finds the next row of the key. */
static bool
next_of_key(Store *s, IndexScanDesc scan, TombstoneKeys *keys, const Datum *key)
{
	while (index_getnext_slot(scan, ForwardScanDirection, s->slot))
	{
		bool		isnull;

		if (tombstone_key_matches(keys, DatumGetByteaPP(slot_getattr(s->slot, ATT_KEY, &isnull)),
								  key))
			return true;
	}
	return false;
}

/*
 * Finds the row of a key that a snapshot shows, and stores it in the slot. Returns false if there
 * is none.
 */
static bool
row_state_find_row(Store *s, TombstoneKeys *keys, const Datum *key, Snapshot snapshot)
{
	IndexScanDesc scan = start_search(s, keys, key, snapshot);
	bool		found = next_of_key(s, scan, keys, key);

	if (found)
		ExecMaterializeSlot(s->slot);
	index_endscan(scan);
	return found;
}

/* Reads the state in the slot, if one was found. */
static void
take_state(Store *store, Version own, RowState *state)
{
	bool		isnull;

	state->ncolumns = 0;
	state->columns = NULL;
	if (!state->stored)
	{
		state->set = sibling_set_create();
		return;
	}
	state->tid = store->slot->tts_tid;
	decode_state(DatumGetByteaPCopy(slot_getattr(store->slot, ATT_STATE, &isnull)),
				 row_version_of_slot(store->slot, own), state);
}

void
row_state_find(TombstoneKeys *keys, const Datum *key, Version own, RowState *state)
{
	Store		store;
	SnapshotData dirty;
	TransactionId wait;

	state->stored = false;
	row_state_open_store(&store, RowExclusiveLock);
	do
	{
		/* a state of a transaction in progress counts as well: wait for it */
		InitDirtySnapshot(dirty);
		wait = InvalidTransactionId;
		state->stored = row_state_find_row(&store, keys, key, &dirty);
		if (state->stored)
			wait = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (TransactionIdIsValid(wait))
			XactLockTableWait(wait, store.heap, NULL, XLTW_None);
	} while (TransactionIdIsValid(wait));
	take_state(&store, own, state);
	row_state_close_store(&store);
}

bool
row_state_visible(TombstoneKeys *keys, const Datum *key, Snapshot snapshot, RowState *state)
{
	Store		store;

	row_state_open_store(&store, AccessShareLock);
	state->stored = row_state_find_row(&store, keys, key, snapshot);
	take_state(&store, VERSION_SELF, state);
	row_state_close_store(&store);
	return state->stored;
}

int
row_state_count(TombstoneKeys *keys, const Datum *key)
{
	Store		store;
	SnapshotData dirty;
	IndexScanDesc scan;
	int			n = 0;

	row_state_open_store(&store, RowExclusiveLock);
	InitDirtySnapshot(dirty);
	scan = start_search(&store, keys, key, &dirty);
	while (next_of_key(&store, scan, keys, key))
		n++;
	ExecClearTuple(store.slot);
	index_endscan(scan);
	row_state_close_store(&store);
	return n;
}

void
row_state_forget_all(Oid relid)
{
	Store		store;
	ScanKeyData search;
	IndexScanDesc scan;
	/* registered, because the next call of GetLatestSnapshot() would change it */
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	row_state_open_store(&store, RowExclusiveLock);
	scan = begin_index_scan(store.heap, store.index, snapshot, 1);
	ScanKeyInit(&search, ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	index_rescan(scan, &search, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, store.slot))
		simple_table_tuple_delete(store.heap, &store.slot->tts_tid, snapshot);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	row_state_close_store(&store);
}

List *
row_state_keys(Oid relid, Snapshot snapshot, int least)
{
	Store		store;
	ScanKeyData search;
	IndexScanDesc scan;
	List	   *result = NIL;

	row_state_open_store(&store, AccessShareLock);
	scan = begin_index_scan(store.heap, store.index, snapshot, 1);
	ScanKeyInit(&search, ATT_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	index_rescan(scan, &search, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, store.slot))
	{
		bool		isnull;

		if (DatumGetInt16(slot_getattr(store.slot, ATT_SIBLINGS, &isnull)) >= least)
			result =
				lappend(result, DatumGetByteaPCopy(slot_getattr(store.slot, ATT_KEY, &isnull)));
	}
	index_endscan(scan);
	row_state_close_store(&store);
	return result;
}

bool
row_state_is_implied(const SiblingSet *set, bool young)
{
	return set->n == 1 && !set->items[0].deleted && set->items[0].plain == young;
}

/* Fills the slot with a row for a set. */
static void
fill_slot(TupleTableSlot *slot, TombstoneKeys *keys, const Datum *key, const SiblingSet *set,
		  const ColumnState *columns, int ncolumns)
{
	Version		newest = set->n > 0 ? set->items[0].version : VERSION_SELF;
	bool		self = version_is_self(newest);
	StringInfoData buf;

	ExecClearTuple(slot);
	initStringInfo(&buf);
	memset(slot->tts_isnull, 0, N_ATTS * sizeof(bool));
	slot->tts_values[ATT_RELID - 1] = ObjectIdGetDatum(tombstone_relid(keys));
	slot->tts_values[ATT_KEY_HASH - 1] = Int64GetDatum(tombstone_key_hash(keys, key));
	slot->tts_values[ATT_KEY - 1] = PointerGetDatum(tombstone_key_bytes(keys, key, &buf));
	slot->tts_values[ATT_SIBLINGS - 1] = Int16GetDatum(Min(set->n, PG_INT16_MAX));
	slot->tts_values[ATT_DELETED - 1] = BoolGetDatum(sibling_just_deleted(set));
	slot->tts_values[ATT_MERGED - 1] = BoolGetDatum(ncolumns > 0);
	slot->tts_isnull[ATT_NEWEST - 1] = slot->tts_isnull[ATT_NEWEST_NODE - 1] = self;
	slot->tts_values[ATT_NEWEST - 1] = TimestampTzGetDatum(newest.ts);
	slot->tts_values[ATT_NEWEST_NODE - 1] = Int32GetDatum(newest.node);
	slot->tts_values[ATT_STATE - 1] = PointerGetDatum(encode_state(set, columns, ncolumns));
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
}

/* Adds the index entry of a new row or row version. */
static void
index_row(Store *s, TombstoneKeys *keys, const Datum *key)
{
	Datum		values[2] = {ObjectIdGetDatum(tombstone_relid(keys)),
							 Int64GetDatum(tombstone_key_hash(keys, key))};
	bool		isnull[2] = {false, false};

	index_insert(s->index, values, isnull, &s->slot->tts_tid, s->heap, UNIQUE_CHECK_NO, false,
				 BuildIndexInfo(s->index));
}

/* Returns true if a stored row was written, false if another transaction was first. */
static bool
took_place(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_Updated:
		case TM_Deleted:
			return false;
		case TM_SelfModified:
		case TM_Invisible:
		case TM_BeingModified:
		case TM_WouldBlock:
			break;
	}
	elog(ERROR, "unexpected result %d of writing a row state", result);
	return false;
}

bool
row_state_store(TombstoneKeys *keys, const Datum *key, const RowState *found, const SiblingSet *set,
				const ColumnState *columns, int ncolumns)
{
	Store		store;
	TM_FailureData failure;
	LockTupleMode mode;
	CommandId	cid;
	IndexUpdates update_indexes;
	bool		done = true;

	bool		nothing = set->n == 0 && ncolumns == 0;

	if (!found->stored && nothing)
		return true;
	row_state_open_store(&store, RowExclusiveLock);
	cid = GetCurrentCommandId(true);
	if (nothing)
		done = took_place(delete_tuple(store.heap, (ItemPointer) &found->tid, cid,
									   InvalidSnapshot, &failure));
	else
	{
		fill_slot(store.slot, keys, key, set, columns, ncolumns);
		if (found->stored)
		{
			done = took_place(update_tuple(store.heap, (ItemPointer) &found->tid, store.slot, cid,
										   &failure, &mode, &update_indexes));
			if (done && needs_index_entries(update_indexes))
				index_row(&store, keys, key);
		}
		else
		{
			table_tuple_insert(store.heap, store.slot, cid, 0, NULL);
			index_row(&store, keys, key);
		}
	}
	CommandCounterIncrement();
	row_state_close_store(&store);
	return done;
}
