/*
 * target_wire.c
 *		wire: the messages of the stream, all types. What was read is written again, and reads the same.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "fuzz.h"
#include "wire/protocol.h"
#include "wire/wire.h"

/* Writes a tuple as it was read. */
static void
write_tuple(StringInfo out, const WireTuple *t)
{
	wire_write_tuple_head(out, t->ncolumns);
	for (int i = 0; i < t->ncolumns; i++)
	{
		const WireColumn *c = &t->columns[i];

		if (c->kind == WIRE_NULL)
			wire_write_null(out);
		else if (c->kind == WIRE_UNCHANGED || c->kind == WIRE_AWAITED)
			wire_write_unchanged(out, c->kind == WIRE_AWAITED);
		else
			wire_write_value(out, c->kind, c->data, c->len);
	}
}

/* Reads one row message and writes it. */
static void
copy_row(WireReader *r, WireMessage type, StringInfo out)
{
	WireTuple	old,
				new;
	WireWrite	write;
	bool		has_old;
	uint32		relid;
	uint32	   *relids;
	int			n;

	wire_tuple_init(&old, CurrentMemoryContext);
	wire_tuple_init(&new, CurrentMemoryContext);
	if (type == WIRE_INSERT)
	{
		relid = wire_read_insert(r, &new);
		wire_write_insert_head(out, relid);
		write_tuple(out, &new);
	}
	else if (type == WIRE_UPDATE)
	{
		relid = wire_read_update(r, &has_old, &old, &new);
		wire_write_update_head(out, relid, has_old);
		if (has_old)
			write_tuple(out, &old);
		write_tuple(out, &new);
	}
	else if (type == WIRE_DELETE)
	{
		relid = wire_read_delete(r, &old);
		wire_write_delete_head(out, relid);
		write_tuple(out, &old);
	}
	else if (type == WIRE_TRUNCATE)
	{
		wire_read_truncate(r, &n, &relids);
		wire_write_truncate(out, n, relids);
	}
	else
	{
		wire_read_write(r, &write, &new);
		wire_write_write_head(out, &write);
		write_tuple(out, &new);
	}
}

/* Reads one message and writes it. */
static void
copy_message(WireReader *r, StringInfo out)
{
	WireMessage type = wire_read_type(r);
	WireStartup startup;
	WireBegin	begin;
	WireCommit	commit;
	WireRelation relation;
	WireStub	stub;

	switch (type)
	{
		case WIRE_STARTUP:
			wire_read_startup(r, &startup);
			wire_write_startup(out, &startup);
			break;
		case WIRE_BEGIN:
			wire_read_begin(r, &begin);
			wire_write_begin(out, &begin);
			break;
		case WIRE_COMMIT:
			wire_read_commit(r, &commit);
			wire_write_commit(out, &commit);
			break;
		case WIRE_RELATION:
			wire_read_relation(r, &relation);
			wire_write_relation(out, &relation);
			break;
		case WIRE_STUB:
			wire_read_stub(r, &stub);
			wire_write_stub(out, &stub);
			break;
		case WIRE_INSERT:
		case WIRE_UPDATE:
		case WIRE_DELETE:
		case WIRE_TRUNCATE:
		case WIRE_WRITE:
			copy_row(r, type, out);
			break;
	}
}

/* Reads messages to their end and writes them. */
static StringInfo
copy_messages(const char *data, int len)
{
	WireReader	r = {.data = data,.len = len};
	StringInfo	out = makeStringInfo();

	while (!wire_at_end(&r))
		copy_message(&r, out);
	return out;
}

static bool
run(FuzzInput *in)
{
	int			len;
	char	   *data = fuzz_rest(in, &len);
	StringInfo	once = copy_messages(data, len);
	StringInfo	twice = copy_messages(once->data, once->len);

	fuzz_check(once->len == twice->len && memcmp(once->data, twice->data, once->len) == 0);
	return true;
}

/* ---------- seeds ---------- */

/* A tuple with a value of each form. */
static void
seed_tuple(StringInfo out)
{
	char		large[300];

	memset(large, 'x', sizeof(large));
	wire_write_tuple_head(out, 6);
	wire_write_value(out, WIRE_INTERNAL, "\1\0\0\0", 4);
	wire_write_value(out, WIRE_BINARY, "\0\0\0\1", 4);
	wire_write_value(out, WIRE_TEXT, large, sizeof(large));
	wire_write_null(out);
	wire_write_unchanged(out, false);
	wire_write_unchanged(out, true);
}

static void
seed_write(StringInfo out, bool exact)
{
	Version		versions[2] = {{800000000000000, 1}, {800000000000001, 2}};
	Frontier   *seen = frontier_create();
	WireMerge	merges[2] = {{1, 3, "B\0\0"}, {2, 0, ""}};
	WireWrite	write = {.relid = 7,.nmerges = 2,.merges = merges};

	frontier_raise(seen, 1, InvalidXLogRecPtr, 800000000000000);
	frontier_raise(seen, 3, InvalidXLogRecPtr, 5);
	write.context = (WriteContext) {.exact = exact,.oldest = exact ? OLDEST_KEPT : OLDEST_ABSENT,.nreplaces = 2,.replaces = versions,
		.nkeeps = exact,.keeps = versions,.seen = seen
	};
	wire_write_write_head(out, &write);
	seed_tuple(out);
}

static void
seeds(void)
{
	WireStartup startup = {WIRE_PROTOCOL_VERSION, PG_VERSION_NUM, 3, "0e4f9a7c-0000-4000-8000-000000000001", "UTF8", true};
	WireBegin	begin = {2, 0x1234567800, 800000000000000, 777};
	WireCommit	commit = {0x1234567890};
	WireAttribute atts[2] = {{"id", 23, -1, "", "int4", 1}, {"mood", 16400, -1, "public", "mood", 0}};
	WireRelation relation = {7, "public", "shop", WIRE_IDENTITY_KEY, 2, 1, atts};
	FrontierEntry entries[2] = {{1, 0x10, 5}, {2, 0x20, PG_INT64_MIN}};
	WireStub	stub = {0x1234, 2, entries, true};
	uint32		relids[2] = {7, 8};
	StringInfoData m;

	initStringInfo(&m);
	wire_write_startup(&m, &startup);
	fuzz_seed("startup", m.data, m.len);
	resetStringInfo(&m);
	wire_write_begin(&m, &begin);
	wire_write_relation(&m, &relation);
	wire_write_insert_head(&m, 7);
	seed_tuple(&m);
	wire_write_commit(&m, &commit);
	fuzz_seed("transaction", m.data, m.len);
	resetStringInfo(&m);
	wire_write_update_head(&m, 7, true);
	seed_tuple(&m);
	seed_tuple(&m);
	fuzz_seed("update", m.data, m.len);
	resetStringInfo(&m);
	wire_write_delete_head(&m, 7);
	seed_tuple(&m);
	fuzz_seed("delete", m.data, m.len);
	resetStringInfo(&m);
	wire_write_truncate(&m, 2, relids);
	fuzz_seed("truncate", m.data, m.len);
	resetStringInfo(&m);
	wire_write_stub(&m, &stub);
	fuzz_seed("stub", m.data, m.len);
	resetStringInfo(&m);
	seed_write(&m, false);
	fuzz_seed("write", m.data, m.len);
	resetStringInfo(&m);
	seed_write(&m, true);
	fuzz_seed("write-exact", m.data, m.len);
}

const FuzzTarget fuzz_wire = {"wire", NULL, run, seeds};
