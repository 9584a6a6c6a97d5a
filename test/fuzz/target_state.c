/*
 * target_state.c
 *		state: stored row states, with rows and merged columns; key: stored keys.
 *
 * What is stored was written by this very server, so values in internal form are trusted; inputs that have them in types of which not any
 * bytes are a value are passed over.
 */
#include "postgres.h"

/* the functions that read are static */
#include "store/row_state.c"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"

#include "catalog/table_info.h"
#include "store/row_text.h"
#include "fuzz.h"

/* Opens a table of ours for good. */
static Relation
open_table(const char *name)
{
	return table_open(RangeVarGetRelid(makeRangeVar("fuzz", pstrdup(name), -1), AccessShareLock, false), AccessShareLock);
}

/* True if a column's bytes are a value of the type, or will be found not to be one. */
static bool
is_fit(const WireColumn *c, Oid typid)
{
	return c->kind != WIRE_INTERNAL || fuzz_any_bytes_are(typid) || typid == TEXTOID;
}

/* ---------- states ---------- */

static const char *const state_tables[] = {"wiki", "shop", "altered", "plain"};

static RowCodec *codecs[lengthof(state_tables)];
static Relation state_rels[lengthof(state_tables)];

static void
prepare_state(void)
{
	for (int i = 0; i < lengthof(state_tables); i++)
	{
		state_rels[i] = open_table(state_tables[i]);
		codecs[i] = row_codec(state_rels[i]);
	}
}

/* True if all values that are stored in another type than the column's are fit for being converted. */
static bool
is_fit_row(RowCodec *c, const Sibling *s)
{
	StringInfoData in = {.data = (char *) s->row,.len = s->len,.maxlen = s->len};
	int			n = pq_getmsgint(&in, 2);
	AttrNumber	attnums[64];
	Oid			types[64];
	WireReader	r;
	WireTuple	t;

	if (n > 64)
		return false;
	for (int i = 0; i < n; i++)
	{
		attnums[i] = pq_getmsgint(&in, 2);
		types[i] = pq_getmsgint(&in, 4);
	}
	r = (WireReader) {.data = in.data,.len = in.len,.pos = in.cursor};
	wire_tuple_init(&t, CurrentMemoryContext);
	wire_read_tuple(&r, &t);
	for (int i = 0; i < t.ncolumns && i < n; i++)
	{
		for (int k = 0; k < c->n; k++)
		{
			if (c->attnums[k] == attnums[i] && types[i] != c->readers[k].typid && !is_fit(&t.columns[i], types[i]))
				return false;
		}
	}
	return true;
}

static bool
run_state(FuzzInput *in)
{
	int			table = fuzz_byte(in) % lengthof(state_tables);
	Version		self = (Version) {800000000000000, 1};
	bool		unresolved = fuzz_byte(in) % 2;
	Frontier   *through = frontier_create();
	RowCodec   *c = codecs[table];
	int			len;
	char	   *data = fuzz_rest(in, &len);
	bytea	   *bytes = palloc(VARHDRSZ + len);
	bytea	   *again;
	RowState	state,
				reread;
	TupleTableSlot *slot;

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), data, len);
	decode_state(bytes, unresolved ? VERSION_SELF : self, &state);
	for (int i = 0; i < state.set->n; i++)
	{
		fuzz_check(i == 0 || version_cmp(state.set->items[i - 1].version, state.set->items[i].version) >= 0);
		if (!version_is_oldest(state.set->items[i].version) && state.set->items[i].version.node > 0)
			frontier_raise(through, state.set->items[i].version.node, InvalidXLogRecPtr, state.set->items[i].version.ts);
	}
	/* the same again */
	again = encode_state(state.set, state.columns, state.ncolumns);
	decode_state(again, unresolved ? VERSION_SELF : self, &reread);
	fuzz_check(reread.set->n == state.set->n && reread.ncolumns == state.ncolumns);
	for (int i = 0; i < state.ncolumns; i++)
		fuzz_check(VARSIZE_ANY(state.columns[i].state) == VARSIZE_ANY(reread.columns[i].state) &&
				   memcmp(state.columns[i].state, reread.columns[i].state, VARSIZE_ANY(state.columns[i].state)) == 0);
	(void) row_state_is_implied(state.set, false);
	(void) row_state_forgettable(bytes, fuzz_byte(in) % 2, self, through);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(state_rels[table]), &TTSOpsVirtual);
	for (int i = 0; i < state.set->n; i++)
	{
		if (state.set->items[i].deleted)
			continue;
		if (!is_fit_row(c, &state.set->items[i]))
			return false;
		row_decode(c, &state.set->items[i], slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return true;
}

/* A row of the table, with values that are read from text where there are some. */
static TupleTableSlot *
seed_row(Relation rel, const char *const *values)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);

	memset(slot->tts_isnull, true, RelationGetDescr(rel)->natts * sizeof(bool));
	for (int i = 0; i < RelationGetDescr(rel)->natts && values[i]; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		Oid			input,
					param;

		if (att->attisdropped || !values[i][0])
			continue;
		getTypeInputInfo(att->atttypid, &input, &param);
		slot->tts_values[i] = OidInputFunctionCall(input, (char *) values[i], param, att->atttypmod);
		slot->tts_isnull[i] = false;
	}
	return ExecStoreVirtualTuple(slot);
}

static void
seeds_state(void)
{
	static const char *const rows[lengthof(state_tables)][8] = {
		{"1", "text", "1.50"}, {"1", "5", "{a,b}", "{\"a\":1}", "note", "3.25", "4"}, {"1", "", "7", "b"}, {"1", "t", "2", "3"},
	};

	for (int i = 0; i < lengthof(state_tables); i++)
	{
		TupleTableSlot *row = seed_row(state_rels[i], rows[i]);
		SiblingSet *set = sibling_set_create();
		ColumnState columns[2];
		MergeColumn counter,
					map;
		MergeShown	shown = {.present = true,.value = Int32GetDatum(5),.version = {800000000000000, 1}};
		StringInfoData buf;
		bytea	   *bytes;
		char		head[2] = {i, 0};

		sibling_add(set, row_sibling(codecs[i], (Version) {800000000000001, 2}, row));
		sibling_add(set, row_sibling(codecs[i], VERSION_OLDEST, row));
		sibling_add(set, row_sibling(codecs[i], VERSION_SELF, NULL));
		set->items[1].plain = true;
		merge_column_init(&counter, MERGE_COUNTER, INT4OID, -1, InvalidOid);
		columns[0] = (ColumnState) {2, merge_keep(&counter, NULL, &shown)};
		merge_column_init(&map, MERGE_MAP, JSONBOID, -1, InvalidOid);
		shown.value = DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"a\": 1, \"b\": {\"c\": null}}"));
		columns[1] = (ColumnState) {4, merge_keep(&map, NULL, &shown)};
		bytes = encode_state(set, columns, 2);
		initStringInfo(&buf);
		appendBinaryStringInfo(&buf, head, 2);
		appendBinaryStringInfo(&buf, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
		fuzz_seed(state_tables[i], buf.data, buf.len);
	}
}

const FuzzTarget fuzz_state = {"state", prepare_state, run_state, seeds_state};

/* ---------- keys ---------- */

static const char *const key_tables[] = {"plain", "twofold", "parted", "keyed"};

static TombstoneKeys *keys[lengthof(key_tables)];
static Datum key_values[lengthof(key_tables)][INDEX_MAX_KEYS];	/* of a key that is there */

/* Reads the values of a key from text, in the order of the key. */
static void
seed_key(Relation rel, const char *const *values, Datum *key)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(rel, &attnums);

	for (int k = 0; k < n; k++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnums[k] - 1);
		Oid			input,
					param;

		getTypeInputInfo(att->atttypid, &input, &param);
		key[k] = OidInputFunctionCall(input, (char *) values[k], param, att->atttypmod);
	}
}

static void
prepare_key(void)
{
	static const char *const values[lengthof(key_tables)][5] = {
		{"1"}, {"2024-01-01", "a"}, {"1", "eu"}, {"b", "5", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "abc", "\\x00ff"},
	};

	for (int i = 0; i < lengthof(key_tables); i++)
	{
		Relation	rel = open_table(key_tables[i]);

		keys[i] = tombstone_keys(rel);
		seed_key(rel, values[i], key_values[i]);
	}
}

static bool
run_key(FuzzInput *in)
{
	int			table = fuzz_byte(in) % lengthof(key_tables);
	int			len;
	char	   *data = fuzz_rest(in, &len);
	bytea	   *bytes = palloc(VARHDRSZ + len);
	bytea	   *again;
	Datum		key[INDEX_MAX_KEYS];
	StringInfoData buf;

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), data, len);
	(void) tombstone_key_matches(keys[table], bytes, key_values[table]);
	if (!tombstone_key_values(keys[table], bytes, key))
		return true;
	(void) tombstone_key_hash(keys[table], key);
	initStringInfo(&buf);
	again = tombstone_key_bytes(keys[table], key, &buf);
	fuzz_check(tombstone_key_matches(keys[table], again, key));
	fuzz_check(tombstone_key_values(keys[table], again, key));
	return true;
}

static void
seeds_key(void)
{
	for (int i = 0; i < lengthof(key_tables); i++)
	{
		StringInfoData buf;
		bytea	   *bytes;
		StringInfoData out;

		initStringInfo(&buf);
		bytes = tombstone_key_bytes(keys[i], key_values[i], &buf);
		initStringInfo(&out);
		appendStringInfoChar(&out, i);
		appendBinaryStringInfo(&out, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
		fuzz_seed(key_tables[i], out.data, out.len);
	}
}

const FuzzTarget fuzz_key = {"key", prepare_key, run_key, seeds_key};
