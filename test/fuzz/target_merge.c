/*
 * target_merge.c
 *		merge: states and ops of merged columns, of all kinds and some types.
 *
 * The input is: column, what is shown, flags, length of the state, state, op.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "fuzz.h"
#include "model/merge.h"

typedef struct Column
{
	MergeKind	kind;
	const char *type;
	const char *values[4];		/* NULL: null */
} Column;

static const Column columns[] = {
	{MERGE_COUNTER, "int4", {"5", "-2147483648", NULL, "7"}},
	{MERGE_COUNTER, "int2", {"32767", "0", NULL, "-1"}},
	{MERGE_COUNTER, "int8", {"9223372036854775807", "1", NULL, "2"}},
	{MERGE_COUNTER, "numeric", {"1.50", "NaN", NULL, "-1e100"}},
	{MERGE_COUNTER, "numeric(5,2)", {"999.99", "0.01", NULL, "5"}},
	{MERGE_SET, "int4[]", {"{1,2,3}", "{}", NULL, "{2,NULL,2}"}},
	{MERGE_SET, "text[]", {"{a,b}", "{}", NULL, "{a,A,\"\"}"}},
	{MERGE_SET, "numeric[]", {"{1.0,1.00}", "{NaN}", NULL, "{2}"}},
	{MERGE_SET, "timestamptz[]", {"{2024-01-01 00:00:00+00}", "{}", NULL, "{infinity}"}},
	{MERGE_SET, "fuzz.mood[]", {"{a,b}", "{}", NULL, "{happy}"}},
	{MERGE_SET, "money[]", {"{1.00}", "{}", NULL, "{2.50}"}},
	{MERGE_MAP, "jsonb", {"{\"a\": 1, \"b\": {\"c\": 2}}", "{}", NULL, "[1]"}},
	{MERGE_LAST_WRITE_WINS, "int4", {"1", "2", NULL, "3"}},
	{MERGE_LAST_WRITE_WINS, "jsonb", {"{}", "1", NULL, "null"}},
	{MERGE_LAST_WRITE_WINS, "timestamptz", {"2024-01-01", "infinity", NULL, "-infinity"}},
};

#define N_COLUMNS	lengthof(columns)

static MergeColumn merges[N_COLUMNS];
static Datum values[N_COLUMNS][4];

static void
prepare(void)
{
	for (int i = 0; i < N_COLUMNS; i++)
	{
		Oid			typid,
					input,
					param;
		int32		typmod;

		parseTypeString(columns[i].type, &typid, &typmod, false);
		merge_column_init(&merges[i], columns[i].kind, typid, typmod, get_typcollation(typid));
		getTypeInputInfo(typid, &input, &param);
		for (int k = 0; k < 4; k++)
		{
			if (columns[i].values[k])
				values[i][k] = OidInputFunctionCall(input, (char *) columns[i].values[k], param, typmod);
		}
	}
}

static bytea *
bytea_of(FuzzInput *in, int len)
{
	bytea	   *bytes = palloc(VARHDRSZ + len);

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), in->data, len);
	in->data += len;
	in->size -= len;
	return bytes;
}

/* True if two results are the same. */
static bool
is_same(const MergeColumn *c, const MergeResult *a, const MergeResult *b)
{
	return a->isnull == b->isnull && (a->isnull || datum_image_eq(a->value, b->value, c->typbyval, c->typlen)) &&
		VARSIZE_ANY_EXHDR(a->state) == VARSIZE_ANY_EXHDR(b->state) &&
		memcmp(VARDATA_ANY(a->state), VARDATA_ANY(b->state), VARSIZE_ANY_EXHDR(a->state)) == 0;
}

static bool
run(FuzzInput *in)
{
	int			column = fuzz_byte(in) % N_COLUMNS;
	int			value = fuzz_byte(in);
	int			flags = fuzz_byte(in);
	int			len = fuzz_byte(in);
	const MergeColumn *c = &merges[column];
	const Datum *v = values[column];
	const Version version = {800000000000000, 2};
	Frontier   *seen = frontier_create();
	MergeShown	shown = {.present = flags & 1,.value = v[value % 4],.isnull = value % 4 == 2,
		.version = {(flags & 2) ? 799999999999999 : 800000000000001, 1},.stable = flags & 4
	};
	MergeResult result,
				twice,
				local;
	bytea	   *state = NULL;

	len = Min(len, in->size);
	if (flags & 8)
		state = bytea_of(in, len);
	if (!shown.present)
		shown = (MergeShown) {.isnull = true};
	if (flags & 16)
		frontier_raise(seen, 1, InvalidXLogRecPtr, 800000000000000);
	if (flags & 32)
		frontier_raise(seen, 3, InvalidXLogRecPtr, 5);
	/* an op, twice */
	merge_apply(c, state, &shown, (const char *) in->data, in->size, v[1], false, version, seen, &result);
	if (!merge_check_value(c, result.value, result.isnull))
	{
		MergeShown	now = {.present = true,.value = result.value,.isnull = result.isnull,.version = version};

		merge_apply(c, result.state, &now, (const char *) in->data, in->size, v[1], false, version, seen, &twice);
		fuzz_check(is_same(c, &result, &twice));
		/* then a write of this node, and the row goes */
		merge_local(c, result.state, &now, v[(value >> 2) % 4], (value >> 2) % 4 == 2, flags & 64, 1, seen, &local);
		if (local.op)
			(void) merge_forgettable(local.state, true, seen);
		state = merge_state_resolve(local.state, (Version) {800000000000009, 1});
		now = (MergeShown) {.present = true,.value = local.value,.isnull = local.isnull,.version = {800000000000009, 1}};
		state = merge_keep(c, state, &now);
		(void) merge_forgettable(state, false, seen);
		state = merge_state_trim(c, state, seen);
		now = (MergeShown) {.isnull = true};
		merge_apply_plain(c, state, &now, v[3], false, (Version) {800000000000003, 3}, &twice);
	}
	return true;
}

/* ---------- seeds ---------- */

static void
seeds(void)
{
	for (int i = 0; i < N_COLUMNS; i++)
	{
		const MergeColumn *c = &merges[i];
		Frontier   *seen = frontier_create();
		MergeShown	shown = {true, values[i][0], false, {799999999999999, 1}, false};
		MergeResult mine,
					other;
		StringInfoData buf;

		frontier_raise(seen, 1, InvalidXLogRecPtr, 800000000000000);
		for (int insert = 0; insert <= 1; insert++)
		{
			merge_local(c, NULL, &shown, values[i][0], false, false, 1, seen, &mine);
			merge_local(c, NULL, &shown, values[i][3], false, insert, 2, seen, &other);
			if (!other.op)
				continue;
			mine.state = merge_state_resolve(mine.state, (Version) {800000000000000, 1});
			initStringInfo(&buf);
			appendStringInfoChar(&buf, i);
			appendStringInfoChar(&buf, 0);
			appendStringInfoChar(&buf, 1 | 8 | 16);
			appendStringInfoChar(&buf, VARSIZE_ANY_EXHDR(mine.state));
			appendBinaryStringInfo(&buf, VARDATA_ANY(mine.state), VARSIZE_ANY_EXHDR(mine.state));
			appendBinaryStringInfo(&buf, VARDATA_ANY(other.op), VARSIZE_ANY_EXHDR(other.op));
			fuzz_seed(psprintf("%02d-%d", i, insert), buf.data, buf.len);
		}
	}
}

const FuzzTarget fuzz_merge = {"merge", prepare, run, seeds};
