/*
 * merge_number.c
 *		The numbers of counters. All types are counted in numeric, whose sums are exact in any
 *		order.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "model/merge_number.h"

Numeric
merge_number_add(Numeric a, Numeric b)
{
	return DatumGetNumeric(
		DirectFunctionCall2(numeric_add, NumericGetDatum(a), NumericGetDatum(b)));
}

Numeric
merge_number_subtract(Numeric a, Numeric b)
{
	return DatumGetNumeric(
		DirectFunctionCall2(numeric_sub, NumericGetDatum(a), NumericGetDatum(b)));
}

int
merge_number_compare(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

bool
merge_number_is_special(Numeric a)
{
	return numeric_is_nan(a) || numeric_is_inf(a);
}

Numeric
merge_number_of(const MergeColumn *c, Datum value, bool isnull)
{
	if (isnull)
		return NULL;
	switch (c->typid)
	{
		case INT2OID:
			return int64_to_numeric(DatumGetInt16(value));
		case INT4OID:
			return int64_to_numeric(DatumGetInt32(value));
		case INT8OID:
			return int64_to_numeric(DatumGetInt64(value));
		default:
			return DatumGetNumeric(value);
	}
}

Datum
merge_number_to_value(const MergeColumn *c, Numeric number, bool *clamped)
{
	*clamped = false;
	if (c->most && !merge_number_is_special(number))
	{
		Numeric		limit = NULL;

		if (merge_number_compare(number, c->most) > 0)
			limit = c->most;
		else if (merge_number_compare(number, c->least) < 0)
			limit = c->least;
		*clamped = limit != NULL;
		number = limit ? limit : number;
	}
	switch (c->typid)
	{
		case INT2OID:
			return DirectFunctionCall1(numeric_int2, NumericGetDatum(number));
		case INT4OID:
			return DirectFunctionCall1(numeric_int4, NumericGetDatum(number));
		case INT8OID:
			return DirectFunctionCall1(numeric_int8, NumericGetDatum(number));
		default:
			return DirectFunctionCall2(numeric, NumericGetDatum(number), Int32GetDatum(c->typmod));
	}
}

/* Returns the greatest number of numeric(precision, scale). */
static Numeric
greatest_of(int32 typmod)
{
	int			precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	int			scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < precision; i++)
		appendStringInfoChar(&s, '9');
	appendStringInfo(&s, "e%d", -scale);
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(s.data),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

void
merge_number_limits(MergeColumn *c)
{
	int64 most = c->typid == INT2OID   ? PG_INT16_MAX
				 : c->typid == INT4OID ? PG_INT32_MAX
									   : PG_INT64_MAX;

	if (c->typid != NUMERICOID)
	{
		c->most = int64_to_numeric(most);
		c->least = int64_to_numeric(-most - 1);
	}
	else if (c->typmod >= (int32) VARHDRSZ)
	{
		c->most = greatest_of(c->typmod);
		c->least = DatumGetNumeric(DirectFunctionCall1(numeric_uminus, NumericGetDatum(c->most)));
	}
}
