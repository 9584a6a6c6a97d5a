/*
 * unit_tests.c
 *		Tests of values without server state: frontier, version, wire, value. Each function
 *		raises an error on the first failure and returns how many checks it made.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/session.h"
#include "base/token_bucket.h"
#include "model/frontier.h"
#include "model/token.h"
#include "model/version.h"
#include "wire/value.h"
#include "wire/wire.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(unit_version);
PG_FUNCTION_INFO_V1(unit_tokens);
PG_FUNCTION_INFO_V1(unit_frontier);
PG_FUNCTION_INFO_V1(unit_token_text);
PG_FUNCTION_INFO_V1(unit_wire);
PG_FUNCTION_INFO_V1(unit_value);
PG_FUNCTION_INFO_V1(unit_fuzz);

static int	checks;

#define CHECK(condition) \
	do { \
		checks++; \
		if (!(condition)) \
			elog(ERROR, "line %d: %s", __LINE__, #condition); \
	} while (0)

/* Order of versions: total, and by the two values alone. */
Datum
unit_version(PG_FUNCTION_ARGS)
{
	Version		v[] = {VERSION_OLDEST, {-5, 1}, {10, 1}, {10, 2}, {10, 300}, {11, 1}};

	checks = 0;
	for (int i = 0; i < lengthof(v); i++)
	{
		for (int j = 0; j < lengthof(v); j++)
		{
			int			c = version_cmp(v[i], v[j]);

			CHECK((c < 0) == (i < j));
			CHECK((c == 0) == (i == j));
			CHECK((c > 0) == (version_cmp(v[j], v[i]) < 0));
		}
	}
	CHECK(version_is_oldest(VERSION_OLDEST) && !version_is_oldest(v[1]));
	PG_RETURN_INT32(checks);
}

/* How many of n tries get a token. */
static int
take_tokens(TokenBucket *b, int rate, Moment now, int n)
{
	int			got = 0;

	for (int i = 0; i < n; i++)
		got += token_bucket_take(b, rate, now);
	return got;
}

/* So many per second, at most those of one second at once, none lost between. */
Datum
unit_tokens(PG_FUNCTION_ARGS)
{
	TokenBucket b = {0};
	Moment		now = 5 * TOKEN_PARTS;
	int			got = 0;

	checks = 0;
	CHECK(take_tokens(&b, 10, now, 1000) == 10);
	CHECK(take_tokens(&b, 10, now + 99999, 5) == 0);
	CHECK(take_tokens(&b, 10, now + 100000, 5) == 1);
	for (int i = 1; i <= 3000; i++)
		got += take_tokens(&b, 7, now + 100000 + i * INT64CONST(1000), 2);
	CHECK(got == 21);
	now += 3600 * TOKEN_PARTS;
	CHECK(take_tokens(&b, 10, now, 1000) == 10);
	token_bucket_put_back(&b, 4);
	CHECK(take_tokens(&b, 10, now, 1000) == 4);
	token_bucket_put_back(&b, 100);
	CHECK(take_tokens(&b, 10, now, 1000) == 10);
	CHECK(take_tokens(&b, PG_INT32_MAX, now + 3600 * TOKEN_PARTS, 1000) == 1000);
	CHECK(take_tokens(&b, 3, now + 3600 * TOKEN_PARTS, 1000) == 3);
	CHECK(take_tokens(&b, 0, now + 3601 * TOKEN_PARTS, 1000) == 0);
	PG_RETURN_INT32(checks);
}

/* A random frontier. */
static Frontier *
random_frontier(pg_prng_state *prng)
{
	Frontier   *f = frontier_create();
	int			n = pg_prng_uint64_range(prng, 0, 20);

	for (int i = 0; i < n; i++)
		frontier_raise(f, pg_prng_uint64_range(prng, 1, 12), pg_prng_uint64_range(prng, 1, 1000),
					   pg_prng_uint64_range(prng, 0, 3) ? (TimestampTz) pg_prng_uint64_range(prng, 0, 1000) - 500 : PG_INT64_MIN);
	return f;
}

/* The union of frontiers as text. */
static char *
merged(const Frontier *a, const Frontier *b)
{
	Frontier   *f = frontier_create();

	frontier_merge(f, a);
	frontier_merge(f, b);
	return frontier_to_text(f);
}

/* Vectors: merging is commutative, associative and idempotent; text goes there and back. */
Datum
unit_frontier(PG_FUNCTION_ARGS)
{
	pg_prng_state prng;
	static const char *const malformed[] = {"x", "1", "1:", "1:0/1", "0:0/1:-", "1:0/1:-,", "1:0/1:-;2:0/1:-", "-1:0/1:-", "1:0/1:5x"};

	checks = 0;
	pg_prng_seed(&prng, PG_GETARG_INT64(0));
	for (int round = 0; round < 2000; round++)
	{
		Frontier   *a = random_frontier(&prng);
		Frontier   *b = random_frontier(&prng);
		Frontier   *c = random_frontier(&prng);

		CHECK(strcmp(merged(a, b), merged(b, a)) == 0);
		CHECK(strcmp(merged(a, a), frontier_to_text(a)) == 0);
		CHECK(strcmp(merged(frontier_from_text(merged(a, b)), c), merged(a, frontier_from_text(merged(b, c)))) == 0);
		CHECK(strcmp(frontier_to_text(frontier_from_text(frontier_to_text(a))), frontier_to_text(a)) == 0);
		for (int i = 0; i < a->n; i++)
		{
			CHECK(frontier_covers(a, a->entries[i].node, a->entries[i].lsn));
			CHECK(!frontier_covers(a, a->entries[i].node, a->entries[i].lsn + 1));
			CHECK(i == 0 || a->entries[i - 1].node < a->entries[i].node);
		}
	}
	CHECK(frontier_lsn(frontier_create(), 7) == InvalidXLogRecPtr);
	for (int i = 0; i < lengthof(malformed); i++)
		CHECK(frontier_from_text(malformed[i]) == NULL);
	PG_RETURN_INT32(checks);
}

/* Tokens: there and back; no cut, no other byte and no other order is taken for a token. */
Datum
unit_token_text(PG_FUNCTION_ARGS)
{
	pg_prng_state prng;
	char		text[TOKEN_TEXT_SIZE + 10];
	char		again[TOKEN_TEXT_SIZE];
	Token		token;
	Token		back;

	checks = 0;
	pg_prng_seed(&prng, PG_GETARG_INT64(0));
	for (int n = 0; n <= TOKEN_MAX_ENTRIES; n++)
	{
		int			length;

		memset(&token, 0, sizeof(token));
		token.n = n;
		for (int i = 0; i < TOKEN_GROUP_BYTES; i++)
			token.group[i] = pg_prng_uint64(&prng);
		for (int i = 0; i < n; i++)
		{
			token.entries[i].node = n == TOKEN_MAX_ENTRIES ? PG_INT32_MAX - n + i : i / 2 + 1;
			token.entries[i].run = n == TOKEN_MAX_ENTRIES ? PG_INT64_MAX : i % 2;
			token.entries[i].lsn.value = n == TOKEN_MAX_ENTRIES ? PG_UINT64_MAX : pg_prng_uint64_range(&prng, 1, PG_UINT64_MAX);
		}
		token_to_text(&token, text);
		length = strlen(text);
		CHECK(n != 3 || length < 200);
		CHECK(token_from_text(text, &back) == TOKEN_VALID);
		token_to_text(&back, again);
		CHECK(strcmp(text, again) == 0);
		for (int at = 0; at < length; at++)
		{
			char		was = text[at];

			text[at] = '\0';
			CHECK(token_from_text(text, &back) == TOKEN_MALFORMED);
			text[at] = was;
			for (const char *c = "0A-.x /"; *c; c++)
			{
				if (*c == was || at == 0)
					continue;
				text[at] = *c;
				CHECK(token_from_text(text, &back) != TOKEN_VALID);
			}
			text[at] = was;
		}
		strcat(text, "0");
		CHECK(token_from_text(text, &back) == TOKEN_MALFORMED);
	}
	CHECK(token_from_text("2.x", &back) == TOKEN_NEWER);
	CHECK(token_from_text("", &back) == TOKEN_MALFORMED);
	CHECK(token_from_text("0.x", &back) == TOKEN_MALFORMED);
	PG_RETURN_INT32(checks);
}

/* Every message, written and read. */
Datum
unit_wire(PG_FUNCTION_ARGS)
{
	StringInfoData buf;
	WireReader	r;
	WireStartup startup = {1, 150020, 3, "group", "UTF8", true},
				startup2;
	WireBegin	begin = {7, 0x123456789ULL, -42, 99},
				begin2;
	WireCommit	commit = {0xFFFFFFFF00000001ULL},
				commit2;
	FrontierEntry entries[2] = {{1, 5, 6}, {2, 7, PG_INT64_MIN}};
	WireStub	stub = {77, 2, entries},
				stub2;
	WireAttribute atts[2] = {{"id", INT4OID, -1, "", "", 1}, {"mood", 99999, 5, "public", "mood", 0}};
	WireRelation rel = {1234, "public", "t", WIRE_IDENTITY_KEY, 2, 1, atts},
				rel2;
	WireTuple	old,
				new;
	uint32		ids[2] = {1, 2},
			   *ids2;
	bool		has_old;
	int			n;
	char	   *big = palloc(1000);

	checks = 0;
	memset(big, 'x', 1000);
	wire_tuple_init(&old, CurrentMemoryContext);
	wire_tuple_init(&new, CurrentMemoryContext);
	initStringInfo(&buf);
	wire_write_startup(&buf, &startup);
	wire_write_begin(&buf, &begin);
	wire_write_relation(&buf, &rel);
	wire_write_insert_head(&buf, 1234);
	wire_write_tuple_head(&buf, 4);
	wire_write_null(&buf);
	wire_write_unchanged(&buf, false);
	wire_write_unchanged(&buf, true);
	wire_write_value(&buf, WIRE_TEXT, big, 1000);
	wire_write_update_head(&buf, 1234, true);
	wire_write_tuple_head(&buf, 1);
	wire_write_value(&buf, WIRE_INTERNAL, "abc", 3);
	wire_write_tuple_head(&buf, 1);
	wire_write_value(&buf, WIRE_BINARY, big, 255);
	wire_write_delete_head(&buf, 1234);
	wire_write_tuple_head(&buf, 1);
	wire_write_value(&buf, WIRE_TEXT, "", 0);
	wire_write_truncate(&buf, 2, ids);
	wire_write_commit(&buf, &commit);
	wire_write_stub(&buf, &stub);

	r = (WireReader) {buf.data, buf.len, 0};
	CHECK(wire_read_type(&r) == WIRE_STARTUP);
	wire_read_startup(&r, &startup2);
	CHECK(startup2.protocol == 1 && startup2.server_version == 150020 && startup2.node == 3 && startup2.internal);
	CHECK(strcmp(startup2.group_id, "group") == 0 && strcmp(startup2.encoding, "UTF8") == 0);
	CHECK(wire_read_type(&r) == WIRE_BEGIN);
	wire_read_begin(&r, &begin2);
	CHECK(begin2.origin == 7 && begin2.origin_lsn == begin.origin_lsn && begin2.commit_ts == -42 && begin2.xid == 99);
	CHECK(wire_read_type(&r) == WIRE_RELATION);
	wire_read_relation(&r, &rel2);
	CHECK(rel2.relid == 1234 && rel2.natts == 2 && rel2.nkeys == 1 && rel2.identity == WIRE_IDENTITY_KEY);
	CHECK(strcmp(rel2.atts[1].typname, "mood") == 0 && rel2.atts[1].typmod == 5 && rel2.atts[0].keypos == 1);
	CHECK(wire_read_type(&r) == WIRE_INSERT);
	CHECK(wire_read_insert(&r, &new) == 1234);
	CHECK(new.ncolumns == 4 && new.columns[0].kind == WIRE_NULL && new.columns[1].kind == WIRE_UNCHANGED && new.columns[2].kind == WIRE_AWAITED);
	CHECK(new.columns[3].len == 1000 && memcmp(new.columns[3].data, big, 1000) == 0);
	CHECK(wire_read_type(&r) == WIRE_UPDATE);
	CHECK(wire_read_update(&r, &has_old, &old, &new) == 1234);
	CHECK(has_old && old.columns[0].len == 3 && new.columns[0].len == 255 && new.columns[0].kind == WIRE_BINARY);
	CHECK(wire_read_type(&r) == WIRE_DELETE);
	CHECK(wire_read_delete(&r, &old) == 1234 && old.columns[0].len == 0);
	CHECK(wire_read_type(&r) == WIRE_TRUNCATE);
	wire_read_truncate(&r, &n, &ids2);
	CHECK(n == 2 && ids2[1] == 2);
	CHECK(wire_read_type(&r) == WIRE_COMMIT);
	wire_read_commit(&r, &commit2);
	CHECK(commit2.end_lsn == commit.end_lsn);
	CHECK(wire_read_type(&r) == WIRE_STUB);
	wire_read_stub(&r, &stub2);
	CHECK(stub2.end_lsn == 77 && stub2.n == 2 && stub2.entries[1].node == 2 && stub2.entries[1].ts == PG_INT64_MIN);
	CHECK(wire_at_end(&r));
	PG_RETURN_INT32(checks);
}

/* unit_value(type, text): there and back, in each form; the result as text. */
Datum
unit_value(PG_FUNCTION_ARGS)
{
	Oid			typid = PG_GETARG_OID(0);
	char	   *input = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			in,
				out,
				ioparam;
	bool		varlena;
	Datum		value;
	char	   *expected;
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(user, security | SESSION_ROW);
	getTypeInputInfo(typid, &in, &ioparam);
	getTypeOutputInfo(typid, &out, &varlena);
	value = OidInputFunctionCall(in, input, ioparam, -1);
	expected = OidOutputFunctionCall(out, value);
	for (int internal = 0; internal <= 1; internal++)
	{
		ValueWriter w;
		ValueReader reader;
		WireAttribute att = {"a", typid, -1, "", "", 0};
		StringInfoData buf;
		WireReader	r;
		WireTuple	t;
		char	   *got;

		initStringInfo(&buf);
		wire_tuple_init(&t, CurrentMemoryContext);
		value_writer_init(&w, typid, internal);
		value_reader_init(&reader, &att, typid, -1);
		reader.direct = true;
		wire_write_tuple_head(&buf, 1);
		value_write(&buf, &w, value);
		r = (WireReader) {buf.data, buf.len, 0};
		wire_read_tuple(&r, &t);
		got = OidOutputFunctionCall(out, value_read(&reader, &t.columns[0]));
		if (strcmp(got, expected) != 0)
			elog(ERROR, "type %u: \"%s\" came back as \"%s\"", typid, expected, got);
	}
	SetUserIdAndSecContext(user, security);
	PG_RETURN_TEXT_P(cstring_to_text(expected));
}

/* Reads whatever a message says it is. */
static void
read_anything(const char *data, int len)
{
	WireReader	r = {data, len, 0};
	WireTuple	a,
				b;

	wire_tuple_init(&a, CurrentMemoryContext);
	wire_tuple_init(&b, CurrentMemoryContext);
	while (!wire_at_end(&r))
	{
		union
		{
			WireStartup s;
			WireBegin	b;
			WireCommit	c;
			WireStub	x;
			WireRelation r;
			WireWrite	w;
		}			m;
		bool		has_old;
		int			n;
		uint32	   *ids;

		switch (wire_read_type(&r))
		{
			case WIRE_STARTUP:
				wire_read_startup(&r, &m.s);
				break;
			case WIRE_BEGIN:
				wire_read_begin(&r, &m.b);
				break;
			case WIRE_COMMIT:
				wire_read_commit(&r, &m.c);
				break;
			case WIRE_RELATION:
				wire_read_relation(&r, &m.r);
				break;
			case WIRE_INSERT:
				wire_read_insert(&r, &a);
				break;
			case WIRE_UPDATE:
				wire_read_update(&r, &has_old, &a, &b);
				break;
			case WIRE_DELETE:
				wire_read_delete(&r, &a);
				break;
			case WIRE_TRUNCATE:
				wire_read_truncate(&r, &n, &ids);
				break;
			case WIRE_WRITE:
				wire_read_write(&r, &m.w, &a);
				break;
			case WIRE_STUB:
				wire_read_stub(&r, &m.x);
				break;
		}
	}
}

/* A valid sequence of messages to mutate. */
static void
valid_messages(StringInfo buf)
{
	WireStartup startup = {1, 150020, 3, "group", "UTF8", true};
	WireBegin	begin = {7, 1, 2, 3};
	WireCommit	commit = {5};
	FrontierEntry entry = {1, 5, 6};
	WireStub	stub = {77, 1, &entry};
	WireAttribute att = {"id", INT4OID, -1, "", "", 1};
	WireRelation rel = {12, "public", "t", WIRE_IDENTITY_KEY, 1, 1, &att};
	uint32		id = 12;
	Version		replaced[2] = {{11, 1}, {12, 2}};
	Frontier   *seen = frontier_create();
	WireMerge	merge = {1, 3, "abc"};
	WireWrite	write = {.relid = 12,.context = {.exact = true,.nreplaces = 2,.replaces = replaced,.nkeeps = 1,.keeps = replaced,.seen = seen},
		.nmerges = 1,.merges = &merge
	};

	frontier_raise(seen, 1, InvalidXLogRecPtr, 13);
	wire_write_startup(buf, &startup);
	wire_write_begin(buf, &begin);
	wire_write_relation(buf, &rel);
	wire_write_insert_head(buf, 12);
	wire_write_tuple_head(buf, 2);
	wire_write_value(buf, WIRE_INTERNAL, "1234", 4);
	wire_write_null(buf);
	wire_write_update_head(buf, 12, false);
	wire_write_tuple_head(buf, 1);
	wire_write_value(buf, WIRE_TEXT, "hello", 5);
	wire_write_delete_head(buf, 12);
	wire_write_tuple_head(buf, 1);
	wire_write_value(buf, WIRE_BINARY, "1234", 4);
	wire_write_write_head(buf, &write);
	wire_write_tuple_head(buf, 3);
	wire_write_unchanged(buf, true);
	wire_write_unchanged(buf, false);
	wire_write_null(buf);
	wire_write_truncate(buf, 1, &id);
	wire_write_commit(buf, &commit);
	wire_write_stub(buf, &stub);
}

/*
 * unit_fuzz(seed, rounds): random bytes and mutated messages. Each is in a block of its
 * own size, so that reading beyond the end is found by a checking allocator; here it
 * counts that every input is either read or refused as a protocol violation.
 */
Datum
unit_fuzz(PG_FUNCTION_ARGS)
{
	pg_prng_state prng;
	int			rounds = PG_GETARG_INT32(1);
	volatile int refused = 0;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fuzz", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	pg_prng_seed(&prng, PG_GETARG_INT64(0));
	for (int i = 0; i < rounds; i++)
	{
		StringInfoData buf;
		char	   *copy;

		initStringInfo(&buf);
		if (i % 3 == 0)
		{
			int			n = pg_prng_uint64_range(&prng, 0, 64);

			for (int k = 0; k < n; k++)
				appendStringInfoChar(&buf, k == 0 ? "SBCRIUDTXW"[pg_prng_uint64_range(&prng, 0, 9)] : (char) pg_prng_uint64(&prng));
		}
		else
		{
			int			n = pg_prng_uint64_range(&prng, 1, 4);

			valid_messages(&buf);
			for (int k = 0; k < n; k++)
				buf.data[pg_prng_uint64_range(&prng, 0, buf.len - 1)] = (char) pg_prng_uint64(&prng);
			if (i % 3 == 2)
				buf.len = pg_prng_uint64_range(&prng, 0, buf.len);
		}
		copy = palloc(Max(buf.len, 1));
		memcpy(copy, buf.data, buf.len);
		PG_TRY();
		{
			read_anything(copy, buf.len);
		}
		PG_CATCH();
		{
			ErrorData  *e;

			MemoryContextSwitchTo(context);
			e = CopyErrorData();
			if (e->sqlerrcode != ERRCODE_PROTOCOL_VIOLATION || !strstr(e->message, "offset"))
				PG_RE_THROW();
			FlushErrorState();
			refused++;
		}
		PG_END_TRY();
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	PG_RETURN_INT32(refused);
}
