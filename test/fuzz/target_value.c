/*
 * target_value.c
 *		value: one column value in all forms, from every type to every type.
 *
 * The input is: local type, typmod, remote type, form, bytes. What becomes a value has a text, and goes there and back in the form that
 * the writer chooses.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "fuzz.h"
#include "wire/value.h"

static const char *const type_names[] = {
	"bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "text", "varchar", "bpchar", "\"char\"", "name",
	"bytea", "uuid", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb", "inet", "cidr", "macaddr",
	"bit", "varbit", "point", "box", "int4[]", "text[]", "numeric[]", "int4range", "tstzrange", "int4multirange", "tsvector", "tsquery",
	"xml", "money", "pg_lsn", "jsonpath", "fuzz.mood", "fuzz.mood[]", "fuzz.pair", "fuzz.pair[]", "fuzz.positive", "fuzz.short",
	"fuzz.moods",
};

static Oid	types[lengthof(type_names)];
static Oid	outputs[lengthof(type_names)];

static void
prepare(void)
{
	for (int i = 0; i < lengthof(types); i++)
	{
		int32		typmod;
		bool		varlena;

		parseTypeString(type_names[i], &types[i], &typmod, false);
		getTypeOutputInfo(types[i], &outputs[i], &varlena);
	}
}

/* The remote type as a relation message describes it. */
static WireAttribute
describe(int type, bool other_oid)
{
	WireAttribute a = {.name = "c",.typid = types[type],.typmod = -1,.typschema = "",.typname = ""};

	if (types[type] >= FirstNormalObjectId)
	{
		a.typschema = "fuzz";
		a.typname = format_type_be(types[type]);
		if (other_oid)
			a.typid = types[type] + 1000000;
	}
	return a;
}

/* A typmod that means something, for types that have one. */
static int32
typmod_of(Oid typid, uint8 byte)
{
	switch (typid)
	{
		case VARCHAROID:
		case BPCHAROID:
			return byte ? VARHDRSZ + byte % 8 + 1 : -1;
		case NUMERICOID:
			return byte ? VARHDRSZ + (((byte % 6 + 1) << 16) | (byte % 3)) : -1;
		case BITOID:
		case VARBITOID:
			return byte ? byte % 20 + 1 : -1;
		case TIMESTAMPTZOID:
		case TIMEOID:
			return byte ? byte % 7 : -1;
		default:
			return -1;
	}
}

/* What was read goes out in the writer's form and comes back. */
static void
check_value(int type, int32 typmod, Datum value)
{
	char	   *text = OidOutputFunctionCall(outputs[type], value);

	for (int internal = 0; internal <= 1; internal++)
	{
		ValueWriter w;
		ValueReader r;
		WireReader	in;
		WireTuple	t;
		WireAttribute same = describe(type, false);
		StringInfoData out;

		same.typmod = typmod;
		initStringInfo(&out);
		value_writer_init(&w, types[type], internal);
		wire_write_tuple_head(&out, 1);
		value_write(&out, &w, value);
		in = (WireReader) {.data = out.data,.len = out.len};
		wire_tuple_init(&t, CurrentMemoryContext);
		wire_read_tuple(&in, &t);
		value_reader_init(&r, &same, types[type], typmod);
		r.direct = true;
		fuzz_check(wire_at_end(&in));
		fuzz_check(strcmp(OidOutputFunctionCall(outputs[type], value_read(&r, &t.columns[0])), text) == 0);
	}
}

static bool
run(FuzzInput *in)
{
	static const WireKind kinds[] = {WIRE_TEXT, WIRE_BINARY, WIRE_INTERNAL};
	int			local = fuzz_byte(in) % lengthof(types);
	int32		typmod = typmod_of(types[local], fuzz_byte(in));
	int			remote = fuzz_byte(in);
	WireColumn	c = {.kind = kinds[fuzz_byte(in) % 3]};
	WireAttribute a;
	ValueReader r;
	Datum		value;

	remote = remote < 128 ? local : remote % lengthof(types);
	a = describe(remote, in->size % 2);
	c.data = fuzz_rest(in, &c.len);
	/* text travels as it is: both databases have one encoding */
	if (c.kind == WIRE_TEXT && !pg_verify_mbstr(GetDatabaseEncoding(), c.data, c.len, true))
		return false;
	value_reader_init(&r, &a, types[local], typmod);
	if (c.kind == WIRE_INTERNAL && !fuzz_any_bytes_are(types[remote]))
	{
		/* bytes of a structure are trusted, so nothing but their length is looked at */
		if (!r.direct)
			return false;
		(void) value_read(&r, &c);
		return true;
	}
	value = value_read(&r, &c);
	check_value(local, typmod, value);
	return true;
}

/* ---------- seeds ---------- */

static void
seeds(void)
{
	static const char *const values[lengthof(type_names)] = {
		"t", "-5", "2147483647", "-9223372036854775808", "7", "1.5", "NaN", "-12345.678900", "a'b", "abc", "ab ", "x", "nam",
		"\\x00ff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "0044-03-15 BC", "12:00:00.5", "12:00:00+02", "2024-01-01", "2024-01-01 00:00:00+00",
		"1 mon -2 days", "{\"a\":1}", "{\"a\": [1, null, \"x\"]}", "::1", "10.0.0.0/8", "08:00:2b:01:02:03",
		"1", "10101", "(1,2)", "(1,2),(0,0)", "{{1,2},{3,NULL}}", "{\"a,b\",\"NULL\",NULL}", "{1.50,NaN}", "[1,5)", "(,\"2024-01-01\"]",
		"{[1,2),[5,6)}", "'a':1 'b':2B", "'a' & !'b':*", "<a/>", "1.00", "1/2", "$.a[*] ? (@ > 1)", "b", "{a,NULL}", "(1,a)",
		"{\"(1,a)\",NULL}", "5", "abc", "{a}",
	};

	for (int i = 0; i < lengthof(types); i++)
	{
		Oid			input,
					param;
		Datum		value;
		char		head[4] = {i, 0, 0, 0};

		getTypeInputInfo(types[i], &input, &param);
		value = OidInputFunctionCall(input, (char *) values[i], param, -1);
		for (int form = 0; form < 3; form++)
		{
			ValueWriter w;
			StringInfoData out;
			WireReader	r;
			WireTuple	t;

			value_writer_init(&w, types[i], form == 2);
			if (form == 0)
			{
				w.kind = WIRE_TEXT;
				fmgr_info(outputs[i], &w.out);
			}
			initStringInfo(&out);
			wire_write_tuple_head(&out, 1);
			value_write(&out, &w, value);
			r = (WireReader) {.data = out.data,.len = out.len};
			wire_tuple_init(&t, CurrentMemoryContext);
			wire_read_tuple(&r, &t);
			head[3] = t.columns[0].kind == WIRE_TEXT ? 0 : t.columns[0].kind == WIRE_BINARY ? 1 : 2;
			resetStringInfo(&out);
			appendBinaryStringInfo(&out, head, sizeof(head));
			appendBinaryStringInfo(&out, t.columns[0].data, t.columns[0].len);
			fuzz_seed(psprintf("%02d-%d", i, head[3]), out.data, out.len);
		}
	}
}

const FuzzTarget fuzz_value = {"value", prepare, run, seeds};
