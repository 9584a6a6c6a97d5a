/*
 * target_link.c
 *		link: a provider's stream as its link worker gets it, applied to real tables; whatever it does is taken back.
 *
 * The input is: flags, then messages, each after its length in two bytes. The tables are known by relation ids 0 to 15,
 * without having been described; ids and origins of the input are brought into the range that there is. A transaction is
 * worked on up to its commit, which is an abort here.
 *
 * Values in internal form are trusted where their type has a structure, and texts to be valid in the encoding: others are refused here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "shared/origin_hold.h"
#include "fuzz.h"
#include "receive/reply.h"
#include "wire/protocol.h"
#include "wire/value.h"
#include "wire/wire.h"

#define N_RELATIONS	16

static bool touched[N_RELATIONS];	/* relations that the input has described */

/* ---------- what stands between the code and the input ---------- */

static void
fuzz_commit(void)
{
	AbortCurrentTransaction();
}

static void
fuzz_link_wait(void)
{
	ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the link waits")));
}

static Datum
fuzz_value_read(ValueReader *r, const WireColumn *c)
{
	Oid			typid = r->direct ? r->typid : r->remote_typid;

	if (c->kind == WIRE_INTERNAL && !fuzz_any_bytes_are(typid) && typid != TEXTOID && typid != VARCHAROID && OidIsValid(typid))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION), errmsg("trusted bytes")));
	if ((c->kind == WIRE_TEXT || (c->kind == WIRE_INTERNAL && !fuzz_any_bytes_are(typid))) &&
		!pg_verify_mbstr(GetDatabaseEncoding(), c->data, c->len, true))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION), errmsg("trusted text")));
	return value_read(r, c);
}

/* In microseconds since 2000: the years 2025 and 2063. */
#define FUTURE_TIMES	INT64CONST(800000000000000)
#define FAR_TIMES		INT64CONST(2000000000000000)

static void
fuzz_read_begin(WireReader *r, WireBegin *m)
{
	wire_read_begin(r, m);
	m->origin = m->origin % 3 + 1;
	/* newer than the rows here, but not by more than max_clock_skew, so that what the transaction brings is looked at */
	if (m->commit_ts >= FUTURE_TIMES && m->commit_ts < FAR_TIMES)
		m->commit_ts = GetCurrentTimestamp() + m->commit_ts % USECS_PER_SEC;
}

static void
fuzz_read_write(WireReader *r, WireWrite *m, WireTuple *t)
{
	wire_read_write(r, m, t);
	m->relid %= N_RELATIONS;
}

static void
fuzz_read_truncate(WireReader *r, int *n, uint32 **relids)
{
	wire_read_truncate(r, n, relids);
	for (int i = 0; i < *n; i++)
		(*relids)[i] %= N_RELATIONS;
}

static void
fuzz_read_relation(WireReader *r, WireRelation *m)
{
	wire_read_relation(r, m);
	m->relid %= N_RELATIONS;
	touched[m->relid] = true;
}

#define value_read fuzz_value_read
#define wire_read_relation fuzz_read_relation
#include "apply/relation.c"
#undef wire_read_relation
#include "apply/row.c"

#define store store_of_apply
#define wire_read_insert(r, t) (wire_read_insert(r, t) % N_RELATIONS)
#define wire_read_update(r, h, o, t) (wire_read_update(r, h, o, t) % N_RELATIONS)
#define wire_read_delete(r, t) (wire_read_delete(r, t) % N_RELATIONS)
#define wire_read_write fuzz_read_write
#define wire_read_truncate fuzz_read_truncate
#define CommitTransactionCommand fuzz_commit
#include "apply/apply.c"
#undef CommitTransactionCommand

#define wire_read_begin fuzz_read_begin
#define link_wait(link, ms) fuzz_link_wait()
#define origin_hold_note(node, lsn, ts) ((void) 0)
#include "receive/transaction.c"
#undef wire_read_begin
#undef link_wait
#undef origin_hold_note

#include "receive/stream.c"

#undef value_read
#undef wire_read_insert
#undef wire_read_update
#undef wire_read_delete
#undef wire_read_write

#include "output/sent_relation.h"

/* ---------- the target ---------- */

static const char *const tables[N_RELATIONS] = {
	"plain", "twofold", "keyless", "inserts_only", "places", "parted", "wiki", "shop", "altered", "keyed", "shop", "wiki",
	"plain", "places", "parted", "shop",
};

static StringInfoData descriptions[N_RELATIONS];
static Link fuzzed;

/* Describes a relation as at the beginning. */
static void
describe_again(int i)
{
	WireReader	r = {.data = descriptions[i].data,.len = descriptions[i].len};

	(void) wire_read_type(&r);
	relation_store(fuzzed.apply, &r);
	touched[i] = false;
}

/* A link that streams. */
static void
start_link(void)
{
	int			old = link_status_find(MyDatabaseId, 2, true);

	(void) link_status_release(old);
	fuzzed.index = link_status_find(MyDatabaseId, 2, true);
	(void) link_status_set_starting(fuzzed.index, false);
	link_status_set_state(fuzzed.index, LINK_CONNECTING);
	link_status_set_state(fuzzed.index, LINK_CATCHING_UP);
}

static void
prepare(void)
{
	SentRelations *sent = sent_relation_init(true, WIRE_PROTOCOL_VERSION);
	static const NodeId origins[] = {1, 2, 3, ORIGIN_NODE_REPAIR};

	for (int i = 0; i < lengthof(origins); i++)
	{
		if (origin_map_origin(origins[i]) == InvalidRepOriginId)
			(void) origin_map_create(origins[i]);
	}
	fuzzed.apply = apply_create();
	for (int i = 0; i < N_RELATIONS; i++)
	{
		Oid			relid = RangeVarGetRelid(makeRangeVar("fuzz", pstrdup(tables[i]), -1), AccessShareLock, false);
		uint32		id = pg_hton32(i);

		initStringInfo(&descriptions[i]);
		sent_relation_describe(&descriptions[i], sent_relation_by_oid(sent, relid));
		memcpy(descriptions[i].data + 1, &id, sizeof(id));
		describe_again(i);
	}
	fuzzed = (Link) {.me = 1,.provider = 2,.group_id = "0e4f9a7c-0000-4000-8000-000000000001",.provider_name = "two",
		.provider_dsn = "host=/nowhere",.full_origins = "all",.apply = fuzzed.apply,
		.stream.protocol = WIRE_PROTOCOL_VERSION
	};
	gate_init(&fuzzed.gate, 1);
	feedback_start(&fuzzed.feedback);
	start_link();
}

/* As if nothing had come. */
static void
clean(void)
{
	AbortOutOfAnyTransaction();
	apply_reset(fuzzed.apply);
	gate_release(&fuzzed.gate);
	link_transaction_reset(&fuzzed);
	fuzzed.transaction.careful_lsn = InvalidXLogRecPtr;
	fuzzed.transaction.careful_tries = fuzzed.transaction.retries = 0;
	feedback_start(&fuzzed.feedback);
	memset(&fuzzed.stream, 0, sizeof(fuzzed.stream));
	start_link();
	for (int i = 0; i < N_RELATIONS; i++)
	{
		if (touched[i])
			describe_again(i);
	}
}

static bool
run(FuzzInput *in)
{
	MemoryContext context = CurrentMemoryContext;
	uint8		flags = fuzz_byte(in);

	fuzzed.seen = frontier_create();
	fuzzed.joining = flags & 1;
	fuzzed.held_back = false;
	fuzzed.demanded = NIL;
	if (flags & 2)
		frontier_raise(fuzzed.seen, 1, 1, PG_INT64_MAX - 1);
	if (flags & 4)
		frontier_raise(fuzzed.seen, 3, 1, 800000000000000);
	apply_init(fuzzed.apply, 2, fuzzed.provider_dsn, fuzzed.seen);
	PG_TRY();
	{
		bool		go_on = true;

		while (in->size > 0 && go_on)
		{
			int			len = (int) fuzz_bytes(in, 2);
			char	   *data;

			len = Min(len, in->size);
			data = palloc(len);
			memcpy(data, in->data, len);
			in->data += len;
			in->size -= len;
			go_on = copy_data(&fuzzed, data, len);
			MemoryContextSwitchTo(context);
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		clean();
		MemoryContextSwitchTo(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	clean();
	MemoryContextSwitchTo(context);
	return true;
}

/* ---------- seeds ---------- */

/* A row of a relation: of each column the value in the form that is sent; keys only if there is one. */
static void
seed_tuple(StringInfo out, int relation, bool key, int variant)
{
	WireReader	r = {.data = descriptions[relation].data,.len = descriptions[relation].len,.pos = 1};
	WireRelation m;
	int			n = 0;

	wire_read_relation(&r, &m);
	wire_write_tuple_head(out, key ? m.nkeys : m.natts);
	for (int pos = 0; pos < (key ? m.nkeys : m.natts); pos++)
	{
		for (int i = 0; i < m.natts; i++)
		{
			int32		number = pg_hton32(variant + 1);
			char		small[8] = {variant + 1};

			if (key ? m.atts[i].keypos != pos + 1 : i != pos)
				continue;
			switch (m.atts[i].typid)
			{
				case INT4OID:
					wire_write_value(out, variant % 2 ? WIRE_BINARY : WIRE_INTERNAL, variant % 2 ? (char *) &number : small, 4);
					break;
				case TEXTOID:
					wire_write_value(out, WIRE_TEXT, variant % 2 ? "us" : "eu", 2);
					break;
				case NUMERICOID:
					wire_write_value(out, WIRE_TEXT, "7.25", 4);
					break;
				case TIMESTAMPTZOID:
					wire_write_value(out, WIRE_TEXT, "2024-01-01 00:00:00+00", 22);
					break;
				case JSONBOID:
					wire_write_value(out, WIRE_TEXT, "{\"a\": 5}", 8);
					break;
				case TEXTARRAYOID:
					wire_write_value(out, WIRE_TEXT, "{c}", 3);
					break;
				case INT4RANGEOID:
					wire_write_value(out, WIRE_TEXT, "[8,20)", 6);
					break;
				case UUIDOID:
					wire_write_value(out, WIRE_INTERNAL, "0123456789abcdef", 16);
					break;
				case BYTEAOID:
				case VARCHAROID:
					wire_write_value(out, WIRE_INTERNAL, "ab", 2);
					break;
				default:
					if (key)
						wire_write_value(out, WIRE_TEXT, strcmp(m.atts[i].name, "a") == 0 ? "b" : "5", 1);
					else if (n++ % 2)
						wire_write_unchanged(out, false);
					else
						wire_write_null(out);
			}
		}
	}
}

/* Puts messages into one of the walsender. */
static void
seed(const char *name, int flags, StringInfo messages)
{
	StringInfoData out;

	initStringInfo(&out);
	pq_sendint8(&out, flags);
	pq_sendint16(&out, messages->len + 25);
	pq_sendint8(&out, 'w');
	pq_sendint64(&out, 0x1000);
	pq_sendint64(&out, 0x1000);
	pq_sendint64(&out, 0);
	appendBinaryStringInfo(&out, messages->data, messages->len);
	fuzz_seed(name, out.data, out.len);
	resetStringInfo(messages);
}

/* A write of a mergeable table, with what is merged. */
static void
seed_write(StringInfo m, int relation, bool deleted, bool plain, int variant)
{
	Version		versions[1] = {{800000000000000, 3}};
	Frontier   *seen = frontier_create();
	WireMerge	merges[1] = {{1, 0, ""}};
	WireWrite	write = {.relid = relation,.deleted = deleted,.nmerges = !plain && strcmp(tables[relation], "shop") == 0,.merges = merges};

	frontier_raise(seen, 2, InvalidXLogRecPtr, 800000000000000);
	write.context = (WriteContext) {.plain = plain,.nreplaces = 1,.replaces = versions,.seen = seen};
	wire_write_write_head(m, &write);
	seed_tuple(m, relation, deleted, variant);
}

/* A row of a relation of which a column has a system column's name. */
static void
seed_system_column(StringInfo m, const WireBegin *begin)
{
	uint32		shop = 7;
	char	   *name;

	wire_write_begin(m, begin);
	appendBinaryStringInfo(m, descriptions[shop].data, descriptions[shop].len);
	name = memmem(m->data, m->len, "note", 4);
	if (!name)
		elog(ERROR, "the relation has no column \"note\"");
	memcpy(name, "ctid", 4);
	wire_write_insert_head(m, shop);
	seed_tuple(m, shop, false, 0);
	seed("system-column", 0, m);
}

static void
seeds(void)
{
	WireBegin	begin = {2, 0x1234567800, 900000000000000, 777};
	WireCommit	commit = {0x1234567890};
	WireStartup startup = {WIRE_PROTOCOL_VERSION, PG_VERSION_NUM, 2, "0e4f9a7c-0000-4000-8000-000000000001", "UTF8", true};
	FrontierEntry entries[1] = {{1, 0x10, 5}};
	WireStub	stub = {0x1234, 1, entries, true};
	StringInfoData m;
	uint32		id;

	initStringInfo(&m);
	wire_write_startup(&m, &startup);
	wire_write_stub(&m, &stub);
	seed("startup", 0, &m);
	for (int i = 0; i < 10; i++)
	{
		bool		merged = i >= 6 && i <= 8;
		bool		keyless = i == 2 || i == 3;

		id = i;
		wire_write_begin(&m, &begin);
		for (int variant = 0; variant < 2; variant++)
		{
			wire_write_insert_head(&m, id);
			seed_tuple(&m, i, false, variant);
		}
		wire_write_commit(&m, &commit);
		seed(psprintf("insert-%s", tables[i]), 0, &m);
		if (i != 3)
		{
			wire_write_begin(&m, &begin);
			wire_write_update_head(&m, id, true);
			seed_tuple(&m, i, !keyless, 0);
			seed_tuple(&m, i, false, 1);
			wire_write_update_head(&m, id, false);
			seed_tuple(&m, i, false, 1);
			wire_write_delete_head(&m, id);
			seed_tuple(&m, i, !keyless, 0);
			wire_write_commit(&m, &commit);
			seed(psprintf("update-%s", tables[i]), 2, &m);
		}
		if (!keyless)
		{
			wire_write_begin(&m, &begin);
			if (merged)
				seed_write(&m, i, false, false, 0);
			seed_write(&m, i, false, true, 1);
			if (merged)
				seed_write(&m, i, true, false, 0);
			wire_write_commit(&m, &commit);
			seed(psprintf("write-%s", tables[i]), 4, &m);
		}
	}
	wire_write_begin(&m, &begin);
	appendBinaryStringInfo(&m, descriptions[3].data, descriptions[3].len);
	id = 3;
	wire_write_truncate(&m, 1, &id);
	wire_write_commit(&m, &commit);
	seed("truncate", 0, &m);
	seed_system_column(&m, &begin);
	fuzz_seed("keepalive", "\0\0\22k\0\0\0\0\0\0\20\0\0\0\0\0\0\0\0\0\1", 21);
}

const FuzzTarget fuzz_link = {"link", prepare, run, seeds,.own_transactions = true};
