/*
 * key_hash.c
 *		Hashes values of key columns.
 *
 * Most types have a hash function that matches their equality operator. Some types that can be key
 * columns have none. Their values hash by bytes, by text or by the numbers in them, if equal values
 * are known to agree in those. Arrays and composites hash by the hashes of their parts. All values
 * of the remaining (unknown) types hash to 0, which is slow but correct.
 *
 * Hashes are stored (tombstone.c, row_state.c, parked.c). If a type hashes differently in a new
 * version, searches therefore use both hashes.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupmacs.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/session.h"
#include "store/key_hash.h"

#define NULL_HASH	1

typedef enum HashBy
{
	BY_NOTHING,
	BY_FUNCTION,
	BY_BYTES,					/* equal values have the same bytes */
	BY_TEXT,					/* equal values have the same text */
	BY_CUBE,					/* equal values have the same bounds, taking -0 as 0 */
	BY_SEG,
	BY_ELEMENTS,				/* an array */
	BY_COLUMNS					/* a composite */
} HashBy;

struct KeyHash
{
	HashBy		by;
	int16		len;
	bool		byval;
	char		align;
	/* the type is not built in: use it only in a row session (base/session.h) */
	bool		users;
	FmgrInfo	function;		/* hash or output function */
	KeyHash    *element;
	Oid			element_type;
	TupleDesc	desc;
	KeyHash   **columns;
};

/*
 * Returns how values are hashed whose type comes with an extension of the same name, in whichever
 * schema that is installed.
 */
static HashBy
choose_of_extension(Oid typid)
{
	static const struct
	{
		const char *name;
		HashBy		by;
	}			known[] = {{"ltree", BY_TEXT}, {"cube", BY_CUBE}, {"seg", BY_SEG}};
	Oid			extension = getExtensionOfObject(TypeRelationId, typid);
	HeapTuple	tuple;
	HashBy		by = BY_NOTHING;

	if (!OidIsValid(extension))
		return BY_NOTHING;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	for (int i = 0; HeapTupleIsValid(tuple) && i < lengthof(known); i++)
	{
		if (strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), known[i].name) == 0 &&
			strcmp(get_extension_name(extension), known[i].name) == 0)
			by = known[i].by;
	}
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return by;
}

/* Returns how values of a type without a hash function are hashed. */
static HashBy
key_hash_choose(Oid typid)
{
	switch (typid)
	{
		case CASHOID:
		case BITOID:
		case VARBITOID:
			return BY_BYTES;
		case TSVECTOROID:
		case TSQUERYOID:
			return BY_TEXT;
		default:
			break;
	}
	if (OidIsValid(get_element_type(typid)))
		return BY_ELEMENTS;
	if (get_typtype(typid) == TYPTYPE_COMPOSITE)
		return BY_COLUMNS;
	return choose_of_extension(typid);
}

/* Prepares the hashing of a composite's columns. */
static void
make_columns(KeyHash *h, Oid typid)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(typid, -1);

	h->desc = CreateTupleDescCopy(desc);
	ReleaseTupleDesc(desc);
	h->columns = palloc0(Max(h->desc->natts, 1) * sizeof(KeyHash *));
	for (int i = 0; i < h->desc->natts; i++)
	{
		if (!TupleDescAttr(h->desc, i)->attisdropped)
			h->columns[i] = key_hash_make(TupleDescAttr(h->desc, i)->atttypid);
	}
}

KeyHash *
key_hash_make(Oid typid)
{
	KeyHash    *h = palloc0(sizeof(KeyHash));
	TypeCacheEntry *type = lookup_type_cache(typid, TYPECACHE_HASH_EXTENDED_PROC);
	Oid			out;
	bool		varlena;

	get_typlenbyval(typid, &h->len, &h->byval);
	h->users = typid >= FirstNormalObjectId;
	if (OidIsValid(type->hash_extended_proc))
	{
		h->by = BY_FUNCTION;
		fmgr_info(type->hash_extended_proc, &h->function);
		return h;
	}
	typid = getBaseType(typid);
	h->by = key_hash_choose(typid);
	switch (h->by)
	{
		case BY_TEXT:
			getTypeOutputInfo(typid, &out, &varlena);
			fmgr_info(out, &h->function);
			break;
		case BY_ELEMENTS:
			h->element_type = get_element_type(typid);
			h->element = key_hash_make(h->element_type);
			get_typlenbyvalalign(h->element_type, &h->element->len, &h->element->byval,
								 &h->element->align);
			break;
		case BY_COLUMNS:
			make_columns(h, typid);
			break;
		case BY_NOTHING:
		case BY_FUNCTION:
		case BY_BYTES:
		case BY_CUBE:
		case BY_SEG:
			break;
	}
	return h;
}

/* Hashes the bytes of a value. */
static uint64
hash_image(KeyHash *h, Datum value)
{
	char		bytes[sizeof(Datum)];
	struct varlena *v;

	if (h->byval)
	{
		store_att_byval(bytes, value, h->len);
		return hash_bytes_extended((unsigned char *) bytes, h->len, 0);
	}
	v = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), 0);
}

/* Adds a number to a hash. */
static uint64
add_number(uint64 hash, double number)
{
	number += 0.0;				/* converts -0 to 0 */
	return hash_combine64(hash, hash_bytes_extended((unsigned char *) &number, sizeof(number), 0));
}

/*
 * Hashes a cube. Its bytes are: u32 number of dimensions, with the highest bit set for a point; one
 * corner; and, unless it is a point, the opposite corner.
 */
static uint64
hash_cube(Datum value)
{
	struct varlena *v = pg_detoast_datum((struct varlena *) DatumGetPointer(value));
	uint32		header;
	uint32		n;
	uint64		hash = 0;

	if (VARSIZE(v) < VARHDRSZ + sizeof(header))
		return 0;
	memcpy(&header, VARDATA(v), sizeof(header));
	n = header & 0x7fffffff;
	for (uint32 i = 0; i < n; i++)
	{
		Size		place = VARHDRSZ + sizeof(header) + i * sizeof(double);
		Size		across = header == n ? place + n * sizeof(double) : place;
		double		a,
					b;

		if (across + sizeof(double) > VARSIZE(v))
			return 0;
		memcpy(&a, (char *) v + place, sizeof(a));
		memcpy(&b, (char *) v + across, sizeof(b));
		hash = add_number(add_number(hash, Min(a, b)), Max(a, b));
	}
	return hash;
}

/* Hashes a seg by its bounds: two float4, which the certainty of the bounds follows. */
static uint64
hash_seg(Datum value)
{
	float4		bounds[2];

	memcpy(bounds, DatumGetPointer(value), sizeof(bounds));
	return add_number(add_number(0, bounds[0]), bounds[1]);
}

/* Hashes the elements of an array, in their order. */
static uint64
hash_elements(KeyHash *h, Oid collation, Datum value)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	uint64		hash = 0;

	deconstruct_array(DatumGetArrayTypeP(value), h->element_type, h->element->len,
					  h->element->byval, h->element->align, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		hash = hash_combine64(hash,
							  nulls[i] ? NULL_HASH : key_hash(h->element, collation, elements[i]));
	return hash;
}

/* Hashes the columns of a composite. */
static uint64
hash_columns(KeyHash *h, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header),.t_data = header};
	Datum	   *values = palloc(Max(h->desc->natts, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(h->desc->natts, 1) * sizeof(bool));
	uint64		hash = 0;

	heap_deform_tuple(&tuple, h->desc, values, nulls);
	for (int i = 0; i < h->desc->natts; i++)
	{
		if (h->columns[i])
			hash = hash_combine64(hash, nulls[i] ? NULL_HASH
												 : key_hash(h->columns[i],
															TupleDescAttr(h->desc, i)->attcollation,
															values[i]));
	}
	return hash;
}

uint64
key_hash(KeyHash *h, Oid collation, Datum value)
{
	char	   *text;

	Assert(!h->users || session_in_row());
	switch (h->by)
	{
		case BY_NOTHING:
			return 0;
		case BY_FUNCTION:
			return DatumGetUInt64(
				FunctionCall2Coll(&h->function, collation, value, UInt64GetDatum(0)));
		case BY_BYTES:
			return hash_image(h, value);
		case BY_TEXT:
			text = OutputFunctionCall(&h->function, value);
			return hash_bytes_extended((unsigned char *) text, strlen(text), 0);
		case BY_CUBE:
			return hash_cube(value);
		case BY_SEG:
			return hash_seg(value);
		case BY_ELEMENTS:
			return hash_elements(h, collation, value);
		case BY_COLUMNS:
			return hash_columns(h, value);
	}
	return 0;
}

bool
key_hash_differs(const KeyHash *h)
{
	return h->by != BY_FUNCTION && h->by != BY_NOTHING;
}

uint64
key_hash_before(KeyHash *h, Oid collation, Datum value)
{
	return h->by == BY_FUNCTION ? key_hash(h, collation, value) : 0;
}
