/*
 * value.c
 *		One column value: from a datum to the wire and back.
 *
 * The form in which values of a type are written is decided once per column. WIRE_INTERNAL is the
 * datum's own bytes. It is the cheapest form, and correct only between servers with the same major
 * version and memory layout, for types whose bytes contain no OID of an object that a user made.
 * When values are read, lengths are checked; the bytes themselves are trusted as the provider is.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/session.h"
#include "wire/value.h"

/* ---------- writing ---------- */

/* Returns the form in which values of a type are written. */
static WireKind
choose_kind(Oid typid, Form_pg_type type, bool internal)
{
	bool		builtin = typid < FirstGenbkiObjectId && !session_type_names_objects(typid);
	bool		has_binary = OidIsValid(type->typsend) && OidIsValid(type->typreceive);

	switch (type->typtype)
	{
		case TYPTYPE_BASE:
			/*
			 * the bytes of xml are its text, whatever the layout; its other forms lose a newline at
			 * the beginning
			 */
			if (builtin && (internal || typid == XMLOID))
				return WIRE_INTERNAL;
			/* arrays of user types contain OIDs in their binary form */
			if (has_binary &&
				(builtin || (!OidIsValid(type->typelem) && !session_type_names_objects(typid))))
				return WIRE_BINARY;
			return WIRE_TEXT;
		case TYPTYPE_ENUM:
			return has_binary ? WIRE_BINARY : WIRE_TEXT;
		case TYPTYPE_RANGE:
		case TYPTYPE_MULTIRANGE:
			if (builtin)
				return internal ? WIRE_INTERNAL : WIRE_BINARY;
			return WIRE_TEXT;
		default:
			return WIRE_TEXT;
	}
}

void
value_writer_init(ValueWriter *w, Oid typid, bool internal)
{
	HeapTuple	tuple;
	Form_pg_type type;

	/* a domain's values are those of its base type */
	typid = getBaseType(typid);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	w->typid = typid;
	w->kind = choose_kind(typid, type, internal);
	w->typlen = type->typlen;
	w->typbyval = type->typbyval;
	w->out.fn_oid = InvalidOid;
	if (w->kind == WIRE_BINARY)
		fmgr_info(type->typsend, &w->out);
	else if (w->kind == WIRE_TEXT)
		fmgr_info(type->typoutput, &w->out);
	ReleaseSysCache(tuple);
}

/* Writes the bytes of a datum. */
static void
write_internal(StringInfo out, ValueWriter *w, Datum value)
{
	if (w->typbyval)
	{
		char		bytes[sizeof(Datum)];

		store_att_byval(bytes, value, w->typlen);
		wire_write_value(out, WIRE_INTERNAL, bytes, w->typlen);
	}
	else if (w->typlen > 0)
		wire_write_value(out, WIRE_INTERNAL, DatumGetPointer(value), w->typlen);
	else if (w->typlen == -1)
	{
		struct varlena *v = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));

		wire_write_value(out, WIRE_INTERNAL, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
		if ((Pointer) v != DatumGetPointer(value))
			pfree(v);
	}
	else
		wire_write_value(out, WIRE_INTERNAL, DatumGetCString(value),
						 strlen(DatumGetCString(value)));
}

/* Writes the binary form of a value. */
static void
write_binary(StringInfo out, ValueWriter *w, Datum value)
{
	int			nest = session_pin_binary();
	bytea	   *bytes = SendFunctionCall(&w->out, value);

	wire_write_value(out, WIRE_BINARY, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
	pfree(bytes);
	session_unpin(nest);
}

/* Writes the text form of a value. */
static void
write_text(StringInfo out, ValueWriter *w, Datum value)
{
	int			nest = session_pin_text(true);
	char	   *text = OutputFunctionCall(&w->out, value);

	wire_write_value(out, WIRE_TEXT, text, strlen(text));
	pfree(text);
	session_unpin(nest);
}

void
value_write(StringInfo out, ValueWriter *w, Datum value)
{
	switch (w->kind)
	{
		case WIRE_INTERNAL:
			write_internal(out, w, value);
			break;
		case WIRE_BINARY:
			write_binary(out, w, value);
			break;
		case WIRE_TEXT:
			write_text(out, w, value);
			break;
		case WIRE_NULL:
		case WIRE_UNCHANGED:
		case WIRE_AWAITED:
			elog(ERROR, "a column's writer has no form");
	}
}

/* ---------- reading ---------- */

/* Returns true if the provider's type is the local one. */
static bool
same_type(const WireAttribute *remote, Oid typid)
{
	HeapTuple	tuple;
	Form_pg_type type;
	char	   *schema;
	bool		same;

	if (typid < FirstGenbkiObjectId || remote->typid < FirstGenbkiObjectId)
		return remote->typid == typid;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	schema = get_namespace_name(type->typnamespace);
	same = schema && strcmp(schema, remote->typschema) == 0 &&
		strcmp(NameStr(type->typname), remote->typname) == 0;
	ReleaseSysCache(tuple);
	return same;
}

void
value_reader_init(ValueReader *r, const WireAttribute *remote, Oid typid, int32 typmod)
{
	bool		same = same_type(remote, typid);

	memset(r, 0, sizeof(*r));
	if (get_typtype(typid) == TYPTYPE_DOMAIN)
	{
		r->domain = typid;
		typid = getBaseTypeAndTypmod(typid, &typmod);
	}
	r->typid = typid;
	r->typmod = typmod;
	r->runs_code = OidIsValid(r->domain) || typid >= FirstNormalObjectId;
	get_typlenbyval(typid, &r->typlen, &r->typbyval);
	r->names_objects = session_type_names_objects(typid);
	r->context = CurrentMemoryContext;
	/* described as the domain itself, whose values are texts then, or as its base type */
	r->direct = (same && OidIsValid(r->domain)) ||
				(same_type(remote, typid) && (typmod == -1 || typmod == remote->typmod));
	r->remote_typid = remote->typid < FirstGenbkiObjectId ? remote->typid : InvalidOid;
	if (r->direct)
		r->remote_typid = typid;
	if (OidIsValid(r->remote_typid))
		get_typlenbyval(r->remote_typid, &r->remote_typlen, &r->remote_typbyval);
}

/* Raises the error for a value with an impossible length. */
static void
value_bad_value(Oid typid, int len)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed replication message: a value of type %s has %d bytes",
					format_type_be(typid), len)));
}

/* Returns a datum that is passed by value, from its bytes, which may be unaligned. */
static Datum
read_byval(int16 typlen, const char *data)
{
	int16		i16;
	int32		i32;
	int64		i64;

	switch (typlen)
	{
		case sizeof(char):
			return CharGetDatum(*data);
		case sizeof(int16):
			memcpy(&i16, data, sizeof(i16));
			return Int16GetDatum(i16);
		case sizeof(int32):
			memcpy(&i32, data, sizeof(i32));
			return Int32GetDatum(i32);
		case sizeof(int64):
			memcpy(&i64, data, sizeof(i64));
			return Int64GetDatum(i64);
		default:
			elog(ERROR, "unsupported length %d of a type by value", typlen);
	}
	return (Datum) 0;
}

/* Returns a datum from its own bytes. */
static Datum
read_internal(Oid typid, int16 typlen, bool typbyval, const WireColumn *c)
{
	if (typlen > 0)
	{
		char	   *copy;

		if (c->len != typlen)
			value_bad_value(typid, c->len);
		if (typbyval)
			return read_byval(typlen, c->data);
		copy = palloc(typlen);
		memcpy(copy, c->data, typlen);
		return PointerGetDatum(copy);
	}
	if (typlen == -1)
	{
		struct varlena *v = palloc(VARHDRSZ + c->len);

		SET_VARSIZE(v, VARHDRSZ + c->len);
		memcpy(VARDATA(v), c->data, c->len);
		return PointerGetDatum(v);
	}
	return CStringGetDatum(pnstrdup(c->data, c->len));
}

/* Returns a datum from its binary form, all of which the receive function must use. */
static Datum
read_binary(ValueReader *r, FmgrInfo *recv, Oid *ioparam, Oid typid, int32 typmod,
			const WireColumn *c)
{
	StringInfoData buf;
	Datum		value;
	int			nest;

	if (!OidIsValid(recv->fn_oid))
	{
		Oid			func;

		getTypeBinaryInputInfo(typid, &func, ioparam);
		fmgr_info_cxt(func, recv, r->context);
	}
	/* receive functions may rely on a terminating zero */
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, c->data, c->len);
	nest = session_pin_binary();
	value = ReceiveFunctionCall(recv, &buf, *ioparam, typmod);
	session_unpin(nest);
	if (buf.cursor != buf.len)
		value_bad_value(typid, c->len);
	pfree(buf.data);
	return value;
}

/* Returns a datum from its text form. */
static Datum
read_text(ValueReader *r, char *text)
{
	Datum		value;
	int			nest;

	if (!OidIsValid(r->in.fn_oid))
	{
		Oid			func;

		getTypeInputInfo(r->typid, &func, &r->typioparam);
		fmgr_info_cxt(func, &r->in, r->context);
	}
	nest = session_pin_text(r->names_objects);
	value = InputFunctionCall(&r->in, text, r->typioparam, r->typmod);
	session_unpin(nest);
	return value;
}

/*
 * Looks up the cast between two numeric types, which ALTER TABLE uses as well when it changes one
 * into the other.
 */
static void
look_up_cast(ValueReader *r)
{
	Oid			func;
	char		category,
				remote_category;
	bool		preferred;

	r->cast_looked_up = true;
	if (r->typid >= FirstNormalObjectId || r->remote_typid >= FirstNormalObjectId)
		return;
	get_type_category_preferred(r->typid, &category, &preferred);
	get_type_category_preferred(r->remote_typid, &remote_category, &preferred);
	if (category == TYPCATEGORY_NUMERIC && remote_category == TYPCATEGORY_NUMERIC &&
		find_coercion_pathway(r->typid, r->remote_typid, COERCION_ASSIGNMENT, &func) ==
			COERCION_PATH_FUNC &&
		func < FirstNormalObjectId && get_func_nargs(func) == 1)
		fmgr_info_cxt(func, &r->cast, r->context);
}

/* Converts a number to another numeric type. */
static Datum
cast_number(ValueReader *r, Datum remote)
{
	Datum		value = FunctionCall1(&r->cast, remote);

	return r->typid == NUMERICOID && r->typmod != -1
			   ? DirectFunctionCall2(numeric, value, Int32GetDatum(r->typmod))
			   : value;
}

/*
 * Converts a value of another type: a number as ALTER TABLE does, any other value through its text
 * form.
 */
static Datum
value_convert(ValueReader *r, const WireColumn *c)
{
	Datum		remote;
	char	   *text;
	int			nest;

	if (!OidIsValid(r->remote_typid))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a value of a type that is not known on this node cannot become %s",
						format_type_be(r->typid)),
				 errhint("Give the column the same type on all nodes.")));
	if (c->kind == WIRE_INTERNAL)
		remote = read_internal(r->remote_typid, r->remote_typlen, r->remote_typbyval, c);
	else
		remote = read_binary(r, &r->remote_recv, &r->remote_typioparam, r->remote_typid, -1, c);
	if (!r->cast_looked_up)
		look_up_cast(r);
	if (OidIsValid(r->cast.fn_oid))
		return cast_number(r, remote);
	if (!OidIsValid(r->remote_out.fn_oid))
	{
		Oid			func;
		bool		varlena;

		getTypeOutputInfo(r->remote_typid, &func, &varlena);
		fmgr_info_cxt(func, &r->remote_out, r->context);
	}
	nest = session_pin_text(session_type_names_objects(r->remote_typid));
	text = OutputFunctionCall(&r->remote_out, remote);
	session_unpin(nest);
	return read_text(r, text);
}

/* Returns the datum of the base type. */
static Datum
read_base(ValueReader *r, const WireColumn *c)
{
	switch (c->kind)
	{
		case WIRE_INTERNAL:
			if (r->direct)
				return read_internal(r->typid, r->typlen, r->typbyval, c);
			return value_convert(r, c);
		case WIRE_BINARY:
			if (r->direct)
				return read_binary(r, &r->recv, &r->typioparam, r->typid, r->typmod, c);
			return value_convert(r, c);
		case WIRE_TEXT:
			return read_text(r, pnstrdup(c->data, c->len));
		case WIRE_NULL:
		case WIRE_UNCHANGED:
		case WIRE_AWAITED:
			break;
	}
	elog(ERROR, "a column has no value");
	return (Datum) 0;
}

Datum
value_read(ValueReader *r, const WireColumn *c)
{
	Datum		value;

	Assert(!r->runs_code || session_in_row());
	value = read_base(r, c);
	if (OidIsValid(r->domain))
		domain_check(value, false, r->domain, &r->domain_checks, r->context);
	return value;
}

void
value_reader_trust(ValueReader *r)
{
	r->direct = true;
	r->domain = InvalidOid;
	r->runs_code = r->typid >= FirstNormalObjectId;
}

#ifdef WORDS_BIGENDIAN
#define BYTE_ORDER_NAME	"be"
#else
#define BYTE_ORDER_NAME	"le"
#endif
#ifdef USE_FLOAT8_BYVAL
#define FLOAT8_NAME		"float"
#else
#define FLOAT8_NAME		"nofloat"
#endif

const char *
value_layout(void)
{
	return SERVER_MAJOR_VERSION "/" BYTE_ORDER_NAME
								"/" CppAsString2(MAXIMUM_ALIGNOF) "/" CppAsString2(
									SIZEOF_DATUM) "/" CppAsString2(NAMEDATALEN) "/" FLOAT8_NAME;
}
