/*
 * row_image.c
 *		Compares rows by their images.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/tupconvert.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "apply/row_image.h"

/* Limit per value; more need not be detoasted to tell rows apart. */
#define HASHED_BYTES	4096

TupleTableSlot *
row_image_of(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot)
{
	if (t->to_root)
		slot = execute_attr_map_slot(t->to_root->attrMap, slot, ar->root_slot);
	return slot;
}

/* ---------- values ---------- */

/* Compares two pass-by-value datums by the bytes that are stored. */
static inline bool
byval_equal(Datum a, Datum b, int16 len)
{
	switch (len)
	{
		case sizeof(char):
			return DatumGetChar(a) == DatumGetChar(b);
		case sizeof(int16):
			return DatumGetInt16(a) == DatumGetInt16(b);
		case sizeof(int32):
			return DatumGetInt32(a) == DatumGetInt32(b);
		default:
			return a == b;
	}
}

/* Compares two varlenas; detoasts them only if their lengths are equal. */
static bool
varlena_equal(Datum a, Datum b)
{
	Size		len = toast_raw_datum_size(a);
	struct varlena *x,
			   *y;
	bool		equal;

	if (toast_raw_datum_size(b) != len)
		return false;
	x = PG_DETOAST_DATUM_PACKED(a);
	y = PG_DETOAST_DATUM_PACKED(b);
	equal = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), len - VARHDRSZ) == 0;
	if ((Pointer) x != DatumGetPointer(a))
		pfree(x);
	if ((Pointer) y != DatumGetPointer(b))
		pfree(y);
	return equal;
}

/* Returns true if two values of a column have the same image. */
static inline bool
value_equal(Form_pg_attribute att, Datum a, Datum b)
{
	if (att->attbyval)
		return byval_equal(a, b, att->attlen);
	if (att->attlen > 0)
		return memcmp(DatumGetPointer(a), DatumGetPointer(b), att->attlen) == 0;
	if (att->attlen == -1)
		return varlena_equal(a, b);
	return strcmp(DatumGetCString(a), DatumGetCString(b)) == 0;
}

/* Returns a hash of a value's length and first bytes. */
static uint32
value_hash(Form_pg_attribute att, Datum value)
{
	char		bytes[sizeof(Datum)];
	struct varlena *v;
	uint32		hash;

	if (att->attbyval)
	{
		store_att_byval(bytes, value, att->attlen);
		return hash_bytes((unsigned char *) bytes, att->attlen);
	}
	if (att->attlen > 0)
		return hash_bytes((unsigned char *) DatumGetPointer(value), att->attlen);
	if (att->attlen != -1)
		return hash_bytes((unsigned char *) DatumGetCString(value), strlen(DatumGetCString(value)));
	v = (struct varlena *) DatumGetPointer(value);
	if (VARATT_IS_EXTENDED(v) && !VARATT_IS_SHORT(v))
		v = detoast_attr_slice(v, 0, HASHED_BYTES);
	hash = hash_combine(hash_bytes((unsigned char *) VARDATA_ANY(v),
								   Min(VARSIZE_ANY_EXHDR(v), HASHED_BYTES)),
						murmurhash32(toast_raw_datum_size(value)));
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	return hash;
}

/*
 * Returns true for types whose values have only one image each, however they were computed. Values
 * of other types may have several images with the same text.
 */
static bool
has_one_image(Oid typid)
{
	typid = getBaseType(typid);
	switch (typid)
	{
		case BOOLOID:
		case CHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case NAMEOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case UUIDOID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case JSONOID:
		case XMLOID:
			return true;
		default:
			return type_is_enum(typid);
	}
}

/*
 * Returns true if two values have the same text. The caller must have pinned the settings on which
 * the text depends.
 */
static bool
text_equal(Form_pg_attribute att, Datum a, Datum b)
{
	Oid			out;
	bool		varlena;
	char	   *x,
			   *y;

	getTypeOutputInfo(att->atttypid, &out, &varlena);
	x = OidOutputFunctionCall(out, a);
	y = OidOutputFunctionCall(out, b);
	return strcmp(x, y) == 0;
}

/* ---------- rows ---------- */

/*
 * Compares the columns that the provider has. Most rows differ in the first of them; their other
 * columns are not deformed.
 */
static bool
row_equal(ApplyRelation *ar, TupleTableSlot *row, bool by_text)
{
	for (int att = 0; att < ar->natts; att++)
	{
		Form_pg_attribute a;
		Datum		value;
		bool		isnull;

		if (!ar->present[att])
			continue;
		value = slot_getattr(row, att + 1, &isnull);
		if (ar->nulls[att] != isnull)
			return false;
		a = TupleDescAttr(row->tts_tupleDescriptor, att);
		if (isnull || value_equal(a, ar->values[att], value))
			continue;
		if (!by_text || has_one_image(a->atttypid) || !text_equal(a, ar->values[att], value))
			return false;
	}
	return true;
}

bool
row_image_equal(ApplyRelation *ar, TupleTableSlot *row)
{
	return row_equal(ar, row, false);
}

bool
row_image_same_texts(ApplyRelation *ar, TupleTableSlot *row)
{
	return row_equal(ar, row, true);
}

bool
row_image_has_texts(ApplyRelation *ar)
{
	for (int i = 0; i < ar->remote.natts; i++)
	{
		if (!has_one_image(
				TupleDescAttr(RelationGetDescr(ar->rel), ar->local_att[i] - 1)->atttypid))
			return true;
	}
	return false;
}

uint32
row_image_hash(ApplyRelation *ar, const Datum *values, const bool *nulls)
{
	uint32		hash = 0;

	for (int i = 0; i < ar->remote.natts; i++)
	{
		int			att = ar->local_att[i] - 1;

		hash = hash_combine(hash, nulls[att]
									  ? 0
									  : value_hash(TupleDescAttr(RelationGetDescr(ar->rel), att),
												   values[att]));
	}
	return hash;
}
