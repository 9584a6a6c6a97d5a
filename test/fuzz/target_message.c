/*
 * target_message.c
 *		message: what a logical message of ours holds, and stored keys of tombstones, as the output plugin hands them on.
 *
 * The input is: the subscriber's layout, then a message; or a key; or a note of capture.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "fuzz.h"
#include "wire/note.h"
#include "wire/protocol.h"
#include "wire/value.h"

/* Values in internal form are trusted, where they are of a type that has a structure. */
static Datum
fuzz_value_read(ValueReader *r, const WireColumn *c)
{
	if (c->kind == WIRE_INTERNAL && !fuzz_any_bytes_are(r->typid) && r->typid != TEXTOID)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION), errmsg("trusted bytes")));
	if (c->kind != WIRE_BINARY && !pg_verify_mbstr(GetDatabaseEncoding(), c->data, c->len, true) && !fuzz_any_bytes_are(r->typid))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION), errmsg("trusted text")));
	return value_read(r, c);
}

#define value_read fuzz_value_read
#include "output/native_row.c"
#undef value_read

#include "output/sent_relation.h"

static const char *const tables[] = {"wiki", "shop", "altered", "plain", "twofold", "places"};

static Oid	relids[lengthof(tables)];
static NativeStream stream;
static SentRelations *sent;

static void
prepare(void)
{
	for (int i = 0; i < lengthof(tables); i++)
		relids[i] = RangeVarGetRelid(makeRangeVar("fuzz", pstrdup(tables[i]), -1), AccessShareLock, false);
	sent = sent_relation_init(false, WIRE_PROTOCOL_VERSION);
}

/* Reads what the plugin has written: it has to be whole messages. */
static void
check_stream(StringInfo out)
{
	WireReader	r = {.data = out->data,.len = out->len};
	WireRelation relation;
	WireWrite	write;
	WireTuple	t;

	wire_tuple_init(&t, CurrentMemoryContext);
	while (!wire_at_end(&r))
	{
		switch (wire_read_type(&r))
		{
			case WIRE_RELATION:
				wire_read_relation(&r, &relation);
				break;
			case WIRE_WRITE:
				wire_read_write(&r, &write, &t);
				break;
			case WIRE_DELETE:
				(void) wire_read_delete(&r, &t);
				break;
			default:
				fuzz_check(false);
		}
	}
}

/* Reads notes of capture; what is written of them is what was read. */
static void
run_note(const char *data, int len)
{
	List	   *notes = note_read(data, len);
	StringInfo	again = makeStringInfo();

	if (notes == NIL)
		return;
	note_write(again, notes);
	fuzz_check(again->len <= len && memcmp(again->data, data, again->len) == 0);
}

static bool
run(FuzzInput *in)
{
	int			what = fuzz_byte(in);
	int			len;
	char	   *data = fuzz_rest(in, &len);
	WireWrite	write = {0};

	memset(&stream, 0, sizeof(stream));
	stream.relations = sent;
	stream.buffer = makeStringInfo();
	stream.context = CurrentMemoryContext;
	if (what & 1)
	{
		SentRelation *e = sent_relation_by_oid(sent, relids[(what >> 1) % lengthof(tables)]);
		bytea	   *key = palloc(VARHDRSZ + len);

		e->described = true;
		SET_VARSIZE(key, VARHDRSZ + len);
		memcpy(VARDATA(key), data, len);
		wire_write_delete_head(stream.buffer, write.relid);
		write_tombstone_key(&stream, e, key);
		check_stream(stream.buffer);
		return true;
	}
	if (what & 4)
	{
		run_note(data, len);
		return true;
	}
	/* most messages are of tables that are there */
	if (len >= 5)
	{
		uint32		relid = pg_hton32(relids[(uint8) data[4] % lengthof(tables)]);

		memcpy(data + 1, &relid, sizeof(relid));
	}
	stream.options.internal = what & 2;
	native_write(NULL, &stream, data, len);
	/* what is handed on as it is may have more behind it */
	if (!stream.options.internal)
		check_stream(stream.buffer);
	return true;
}

/* ---------- seeds ---------- */

static void
seeds(void)
{
	for (int i = 0; i < lengthof(tables); i++)
	{
		SentRelation *e = sent_relation_by_oid(sent, relids[i]);
		Version		versions[1] = {{800000000000000, 1}};
		Frontier   *seen = frontier_create();
		WireMerge	merges[1] = {{1, 3, "B\0\0"}};
		WireWrite	write = {.relid = i,.nmerges = 1,.merges = merges};
		StringInfoData buf;

		frontier_raise(seen, 1, InvalidXLogRecPtr, 800000000000000);
		write.context = (WriteContext) {.nreplaces = 1,.replaces = versions,.seen = seen,.plain = e->kind == SENT_ROWS};
		for (int deleted = 0; deleted <= 1; deleted++)
		{
			int			n = deleted ? e->nkeys : e->natts;

			initStringInfo(&buf);
			appendStringInfoChar(&buf, 0);
			write.deleted = deleted;
			wire_write_write_head(&buf, &write);
			wire_write_tuple_head(&buf, n);
			for (int k = 0; k < n; k++)
			{
				Oid			type = (deleted ? e->key_readers : e->readers)[k].typid;

				if (type == INT4OID)
					wire_write_value(&buf, WIRE_INTERNAL, "\1\0\0\0", 4);
				else if (type == TEXTOID)
					wire_write_value(&buf, WIRE_INTERNAL, "one", 3);
				else if (type == TIMESTAMPTZOID)
					wire_write_value(&buf, WIRE_TEXT, "2024-01-01", 10);
				else
					wire_write_null(&buf);
			}
			fuzz_seed(psprintf("%s-%d", tables[i], deleted), buf.data, buf.len);
		}
	}
	fuzz_seed("key", "\7\0\1i\4\1\0\0\0", 9);
	fuzz_seed("note", "\4K\0\0\0\1\0\0\100\0\0\0\0\0\0\0\0\2\0\0\0\1", 22);
}

const FuzzTarget fuzz_message = {"message", prepare, run, seeds,.internal_errors = true};
