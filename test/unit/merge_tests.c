/*
 * merge_tests.c
 *		Columns that merge (model/merge.h), case by case, and against malformed bytes. Values are written as text.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "model/merge.h"

PG_FUNCTION_INFO_V1(unit_merge);
PG_FUNCTION_INFO_V1(unit_merge_garbage);

static int	checks;
static TimestampTz clock_now;			/* of the last write */

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) \
			elog(ERROR, __VA_ARGS__); \
		checks++; \
	} while (0)

/* A node with one column of one row. */
typedef struct Side
{
	MergeColumn c;
	NodeId		node;
	MergeShown	shown;
	bytea	   *state;
	Frontier   *seen;
	MergeResult last;
} Side;

/* A value as text. */
static char *
out(const Side *s, Datum value, bool isnull)
{
	Oid			function;
	bool		varlena;

	if (isnull)
		return "NULL";
	getTypeOutputInfo(s->c.typid, &function, &varlena);
	return OidOutputFunctionCall(function, value);
}

/* A value from text. */
static Datum
in(const Side *s, const char *text)
{
	Oid			function,
				ioparam;

	if (!text)
		return (Datum) 0;
	getTypeInputInfo(s->c.typid, &function, &ioparam);
	return OidInputFunctionCall(function, (char *) text, ioparam, s->c.typmod);
}

/* Two nodes that show the same row, which is stable; text NULL: SQL NULL. */
static void
begin(Side *sides, MergeKind kind, Oid typid, int32 typmod, const char *text)
{
	for (int i = 0; i < 2; i++)
	{
		Side	   *s = &sides[i];

		memset(s, 0, sizeof(*s));
		merge_column_init(&s->c, kind, typid, typmod, get_typcollation(typid));
		s->node = i + 1;
		s->shown = (MergeShown) {true, in(s, text), text == NULL, {100, 1}, true};
		s->seen = frontier_create();
		frontier_raise(s->seen, 1, 1, 100);
	}
}

/* Takes a result over. */
static void
take(Side *s, Version version)
{
	s->state = merge_state_resolve(s->last.state, version);
	s->shown = (MergeShown) {true, s->last.value, s->last.isnull, version, false};
	frontier_raise(s->seen, version.node, 1, version.ts);
}

/* An update at a side; returns its op, or NULL. */
static bytea *
update(Side *s, const char *text, TimestampTz ts)
{
	merge_local(&s->c, s->state, &s->shown, in(s, text), text == NULL, false, s->node, s->seen, &s->last);
	take(s, (Version) {ts, s->node});
	return s->last.op;
}

/* An op of the other side comes; the writer had seen what frontier tells. */
static void
apply(Side *s, bytea *op, const char *text, TimestampTz ts, const Frontier *seen)
{
	merge_apply(&s->c, s->state, &s->shown, op ? VARDATA_ANY(op) : NULL, op ? VARSIZE_ANY_EXHDR(op) : 0, in(s, text), text == NULL,
				(Version) {ts, 3 - s->node}, seen, &s->last);
	take(s, (Version) {ts, 3 - s->node});
}

/* Both update at the same time, then hear of each other; both must show the expected. */
static void
both(const char *what, Side *sides, const char *first, const char *second, const char *expected)
{
	Frontier   *seen[2];
	bytea	   *ops[2];
	const char *texts[2];

	clock_now += 10;
	for (int i = 0; i < 2; i++)
	{
		const char *text = i ? second : first;

		seen[i] = frontier_create();
		frontier_merge(seen[i], sides[i].seen);
		ops[i] = update(&sides[i], text, clock_now + i);
		texts[i] = sides[i].last.isnull ? NULL : out(&sides[i], sides[i].last.value, false);
	}
	for (int i = 0; i < 2; i++)
		apply(&sides[i], ops[1 - i], texts[1 - i], clock_now + 1 - i, seen[1 - i]);
	for (int i = 0; i < 2; i++)
	{
		char	   *got = out(&sides[i], sides[i].shown.value, sides[i].shown.isnull);

		CHECK(strcmp(got, expected) == 0, "%s: node %d shows %s, not %s", what, i + 1, got, expected);
	}
}

/* A write that nobody contends: shown is what was written, or what is expected instead. */
static void
alone(Side *s, const char *text, const char *expected, bool has_op)
{
	char	   *got;
	bytea	   *op = update(s, text, clock_now += 10);

	got = out(s, s->shown.value, s->shown.isnull);
	CHECK(strcmp(got, expected) == 0, "%s is shown as %s, not %s", text, got, expected);
	CHECK((op != NULL) == has_op, "%s makes %s op", text, op ? "an" : "no");
	CHECK(s->last.rewrite == (strcmp(text, expected) != 0), "rewriting of %s", text);
}

/* Names, types and values that are taken, or not. */
static void
check_names(void)
{
	MergeKind	kind;
	MergeColumn c;
	Side		s;

	for (int i = MERGE_LAST_WRITE_WINS; i <= MERGE_MAP; i++)
		CHECK(merge_kind_parse(merge_kind_name(i), &kind) && kind == i, "name of kind %d", i);
	CHECK(!merge_kind_parse("sum", &kind), "there is no sum");
	CHECK(!merge_check_type(MERGE_COUNTER, INT2OID) && !merge_check_type(MERGE_COUNTER, NUMERICOID), "types that count");
	CHECK(merge_check_type(MERGE_COUNTER, FLOAT8OID) && merge_check_type(MERGE_COUNTER, TEXTOID), "types that do not count");
	CHECK(!merge_check_type(MERGE_SET, TEXTARRAYOID) && merge_check_type(MERGE_SET, INT4OID), "types that are sets");
	CHECK(merge_check_type(MERGE_SET, JSONARRAYOID) && merge_check_type(MERGE_SET, INT2VECTOROID) &&
		  merge_check_type(MERGE_SET, POINTARRAYOID), "arrays that are no sets");
	CHECK(!merge_check_type(MERGE_MAP, JSONBOID) && merge_check_type(MERGE_MAP, JSONOID), "types that are maps");
	CHECK(!merge_check_type(MERGE_LAST_WRITE_WINS, POINTOID), "all types can be last_write_wins");
	merge_column_init(&c, MERGE_SET, INT4ARRAYOID, -1, InvalidOid);
	s.c = c;
	CHECK(!merge_check_value(&c, in(&s, "{1,2}"), false) && !merge_check_value(&c, 0, true), "values that are sets");
	CHECK(merge_check_value(&c, in(&s, "{{1,2},{3,4}}"), false), "a matrix is no set");
}

/* Sums, limits, NULL. */
static void
check_counters(void)
{
	Side		s[2];
	bytea	   *ops[2];
	int32		typmod = ((5 << 16) | 2) + VARHDRSZ;

	begin(s, MERGE_COUNTER, INT4OID, -1, "10");
	both("increments", s, "15", "7", "12");
	begin(s, MERGE_COUNTER, INT2OID, -1, "32760");
	both("beyond the type", s, "32765", "32764", "32767");
	CHECK(s[0].last.clamped && s[1].last.clamped, "a limit is told");
	alone(&s[0], "32766", "32767", true);	/* one less of 32769 */
	begin(s, MERGE_COUNTER, INT8OID, -1, "-9223372036854775800");
	both("beyond the type", s, "-9223372036854775806", "-9223372036854775805", "-9223372036854775808");
	begin(s, MERGE_COUNTER, NUMERICOID, typmod, "990.00");
	both("beyond the precision", s, "995.00", "996.50", "999.99");
	begin(s, MERGE_COUNTER, NUMERICOID, -1, "0.10");
	both("numeric", s, "0.35", "0.05", "0.30");
	begin(s, MERGE_COUNTER, NUMERICOID, -1, "1");
	both("not a number", s, "5", "NaN", "NaN");
	begin(s, MERGE_COUNTER, INT4OID, -1, NULL);
	both("from NULL", s, "5", "7", "7");	/* two assignments */
	begin(s, MERGE_COUNTER, INT4OID, -1, "4");
	both("to NULL", s, NULL, "7", "3");
	begin(s, MERGE_COUNTER, INT4OID, -1, "4");
	alone(&s[0], "4", "4", false);
	/* a node that starts in the middle, from the row alone; and ops that come again, late */
	begin(s, MERGE_COUNTER, INT4OID, -1, "10");
	ops[0] = update(&s[0], "15", 200);
	ops[1] = update(&s[0], "17", 210);
	s[1].shown.value = Int32GetDatum(15);
	apply(&s[1], ops[1], NULL, 210, s[0].seen);
	CHECK(DatumGetInt32(s[1].shown.value) == 17, "from the middle on: %d", DatumGetInt32(s[1].shown.value));
	apply(&s[1], ops[0], NULL, 200, s[0].seen);
	CHECK(DatumGetInt32(s[1].shown.value) == 17, "an older op again: %d", DatumGetInt32(s[1].shown.value));
	apply(&s[1], ops[1], NULL, 210, s[0].seen);
	CHECK(DatumGetInt32(s[1].shown.value) == 17, "again: %d", DatumGetInt32(s[1].shown.value));
}

/* Adds and removals, forms of elements, order. */
static void
check_sets(void)
{
	Side		s[2];

	begin(s, MERGE_SET, TEXTARRAYOID, -1, "{a,b}");
	both("adds", s, "{a,b,c}", "{a,b,d}", "{a,b,c,d}");
	begin(s, MERGE_SET, TEXTARRAYOID, -1, "{a,b}");
	both("add and remove", s, "{b,c}", "{a}", "{c}");
	begin(s, MERGE_SET, TEXTARRAYOID, -1, "{}");
	both("the same", s, "{x}", "{x}", "{x}");
	begin(s, MERGE_SET, TEXTARRAYOID, -1, "{x}");
	both("NULL and an add", s, NULL, "{x,y}", "{y}");
	both("NULL has been seen", s, "{}", "{}", "{}");
	begin(s, MERGE_SET, TEXTARRAYOID, -1, NULL);
	both("from NULL", s, "{1}", "{NULL,2}", "{1,NULL,2}");
	begin(s, MERGE_SET, NUMERICARRAYOID, -1, "{1.0}");
	both("equal in another form", s, "{1.00,2}", "{}", "{2}");
	begin(s, MERGE_SET, TIMESTAMPTZARRAYOID, -1, "{2020-01-01 00:00:00+00}");
	(void) set_config_option("datestyle", "SQL, DMY", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	both("other settings", s, "{2020-01-01 00:00:00+00,2020-02-01 00:00:00+00}", "{}", "{\"01/02/2020 00:00:00 UTC\"}");
	begin(s, MERGE_SET, INT4ARRAYOID, -1, "{3,3,1}");
	alone(&s[0], "{3,3,1,7,5}", "{3,3,1,7,5}", true);
	alone(&s[0], "{5,3,3,1,7}", "{3,3,1,7,5}", false);
	alone(&s[0], "{3,1,7,5}", "{1,7,5,3}", true);
	alone(&s[0], "[0:1]={1,7}", "{1,7}", true);
	alone(&s[0], "{0,1,7}", "{1,7,0}", true);
}

/* Keys, depths, leaves against subtrees. */
static void
check_maps(void)
{
	Side		s[2];

	begin(s, MERGE_MAP, JSONBOID, -1, "{}");
	both("keys", s, "{\"a\": 1}", "{\"b\": {\"c\": [1, 2]}}", "{\"a\": 1, \"b\": {\"c\": [1, 2]}}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": {\"b\": {\"c\": {\"d\": 1}}}, \"e\": 2}");
	both("deep", s, "{\"a\": {\"b\": {\"c\": {\"d\": 1, \"x\": null}}}, \"e\": 2}", "{\"a\": {\"b\": {\"c\": {\"d\": 5}, \"y\": {}}}}",
		 "{\"a\": {\"b\": {\"c\": {\"d\": 5, \"x\": null}, \"y\": {}}}}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": {\"b\": 1}}");
	both("add and remove", s, "{\"a\": {\"b\": 1, \"c\": 2}}", "{}", "{\"a\": {\"c\": 2}}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": 1}");
	both("same key", s, "{\"a\": 2}", "{\"a\": \"x\\u0001\\\"\"}", "{\"a\": \"x\\u0001\\\"\"}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": 1}");
	both("subtree, then leaf", s, "{\"a\": {\"x\": 1}}", "{\"a\": 5}", "{\"a\": 5}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": 1}");
	both("leaf, then subtree", s, "{\"a\": 5}", "{\"a\": {\"x\": 1}}", "{\"a\": {\"x\": 1}}");
	both("what was hidden", s, "{\"a\": {}}", "{\"a\": {\"x\": 1, \"y\": 2}}", "{\"a\": {\"y\": 2}}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": 1, \"b\": 2}");
	both("nothing is left", s, "{\"a\": 1}", "{\"b\": 2}", "{}");
	begin(s, MERGE_MAP, JSONBOID, -1, "[1]");
	both("no objects", s, "\"x\"", NULL, "NULL");
	both("no objects", s, "{\"\": 1}", "{\"\": {\"\": 2}}", "{\"\": {\"\": 2}}");
	begin(s, MERGE_MAP, JSONBOID, -1, "{\"a\": 1}");
	alone(&s[0], "{\"a\": 1}", "{\"a\": 1}", false);
	alone(&s[0], "{\"a\": 1.0}", "{\"a\": 1.0}", true);
}

/* The newest shows; what goes with a row comes back. */
static void
check_columns(void)
{
	Side		s[2];
	bytea	   *kept;

	begin(s, MERGE_LAST_WRITE_WINS, TEXTOID, -1, "old");
	both("text", s, "one", "two", "two");
	begin(s, MERGE_LAST_WRITE_WINS, TEXTOID, -1, "old");
	both("one writes", s, "one", "old", "one");
	begin(s, MERGE_LAST_WRITE_WINS, TEXTOID, -1, "old");
	both("NULL", s, "one", NULL, "NULL");
	/* what goes with the row comes back with it */
	begin(s, MERGE_LAST_WRITE_WINS, TIMESTAMPTZOID, -1, "2020-01-01 00:00:00+00");
	kept = merge_keep(&s[0].c, NULL, &s[0].shown);
	s[0].shown.present = false;
	merge_apply(&s[0].c, kept, &s[0].shown, NULL, 0, 0, true, (Version) {300, 2}, s[0].seen, &s[0].last);
	CHECK(!s[0].last.isnull && s[0].last.value == s[0].shown.value, "the value comes back");
	CHECK(merge_forgettable(kept, true, s[0].seen), "the oldest version is stable");
	CHECK(!merge_forgettable(s[1].state ? s[1].state : update(&s[1], NULL, 400) ? s[1].state : NULL, true, s[0].seen),
		  "a newer version is not");
}

/* unit_merge() → checks that were made */
Datum
unit_merge(PG_FUNCTION_ARGS)
{
	int			nest = NewGUCNestLevel();

	checks = 0;
	clock_now = 200;
	(void) set_config_option("timezone", "UTC", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	check_names();
	check_counters();
	check_maps();
	check_columns();
	check_sets();
	AtEOXact_GUC(true, nest);
	PG_RETURN_INT32(checks);
}

/* ---------- malformed bytes ---------- */

/* A valid op and state of a kind. */
static void
make_valid(Side *s, int kind, pg_prng_state *prng, bytea **op)
{
	static const Oid types[] = {TEXTOID, NUMERICOID, TEXTARRAYOID, JSONBOID};
	static const char *const values[][3] = {
		{"a", "b", "c"}, {"1", "2.5", "-100"}, {"{a,b}", "{b,c,NULL}", "{x,a}"},
		{"{\"a\": 1}", "{\"b\": {\"c\": 1, \"d\": []}}", "[1]"}};
	Side		sides[2];

	begin(sides, kind, types[kind], -1, values[kind][0]);
	sides[0].shown.stable = false;
	sides[0].seen = frontier_create();
	(void) update(&sides[0], values[kind][1], 200);
	if (pg_prng_bool(prng))
		sides[0].state = merge_keep(&sides[0].c, sides[0].state, &sides[0].shown);
	*s = sides[0];
	merge_local(&s->c, s->state, &s->shown, in(s, values[kind][2]), false, pg_prng_bool(prng), 1, s->seen, &s->last);
	*op = s->last.op;
}

/* Bytes of a bytea, some of them changed or cut off, in a block of their size. */
static bytea *
spoil(bytea *b, pg_prng_state *prng)
{
	int			len = VARSIZE_ANY_EXHDR(b);
	bytea	   *copy;

	if (pg_prng_uint64_range(prng, 0, 2) == 0)
		len = pg_prng_uint64_range(prng, 0, len);
	copy = palloc(len + VARHDRSZ);
	SET_VARSIZE(copy, len + VARHDRSZ);
	memcpy(VARDATA(copy), VARDATA_ANY(b), len);
	for (int i = pg_prng_uint64_range(prng, 0, 3); i > 0 && len > 0; i--)
		VARDATA(copy)[pg_prng_uint64_range(prng, 0, len - 1)] = (char) (pg_prng_bool(prng) ? pg_prng_uint64(prng) : pg_prng_uint64_range(prng, 0, 3));
	return copy;
}

/* True for errors that tell of bad input. */
static bool
is_refusal(int sqlstate)
{
	int			category = ERRCODE_TO_CATEGORY(sqlstate);

	return sqlstate == ERRCODE_PROTOCOL_VIOLATION || category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/* unit_merge_garbage(seed, rounds) → how many were refused */
Datum
unit_merge_garbage(PG_FUNCTION_ARGS)
{
	pg_prng_state prng;
	int			rounds = PG_GETARG_INT32(1);
	volatile int refused = 0;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "garbage", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	pg_prng_seed(&prng, PG_GETARG_INT64(0));
	for (int i = 0; i < rounds; i++)
	{
		Side		s;
		bytea	   *op;
		bytea	   *state;
		MergeResult r;

		CHECK_FOR_INTERRUPTS();
		make_valid(&s, i % 4, &prng, &op);
		state = pg_prng_bool(&prng) ? s.state : spoil(s.state, &prng);
		op = spoil(op, &prng);
		PG_TRY();
		{
			merge_apply(&s.c, state, &s.shown, VARDATA(op), VARSIZE_ANY_EXHDR(op), in(&s, i % 4 ? NULL : "x"), i % 4 != 0,
						(Version) {300, 2}, s.seen, &r);
			(void) out(&s, r.value, r.isnull);
			(void) merge_keep(&s.c, r.state, &s.shown);
			(void) merge_state_trim(&s.c, r.state, s.seen);
			(void) merge_forgettable(merge_state_resolve(r.state, (Version) {400, 1}), true, s.seen);
		}
		PG_CATCH();
		{
			ErrorData  *e;

			MemoryContextSwitchTo(context);
			e = CopyErrorData();
			if (!is_refusal(e->sqlerrcode))
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
