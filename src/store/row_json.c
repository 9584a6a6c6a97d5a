/*
 * row_json.c
 *		Converts a row, or its key, to jsonb for the record of conflicts.
 *
 * Each column is converted by to_jsonb(), directly from its value. A value that alone exceeds the
 * limit of a whole row is not even read (it may be toasted, or too large for jsonb). Of the others,
 * the largest are cut until the row fits. A value that is cut is shown as "[cut: N bytes]".
 *
 * Casts to json that users have created run here; the caller must have set the user for them.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/session.h"
#include "catalog/table_info.h"
#include "store/row_json.h"

#define ROW_MOST	8192		/* limit of a row as jsonb, in bytes */
#define COLUMN_LEAST	64		/* columns up to this size are not cut */

/* One column of the resulting object. */
typedef struct Member
{
	const char *name;
	Jsonb	   *value;			/* NULL: null */
	Size		raw_size;		/* of the column's value, for the note that it was cut */
} Member;

/* Converts a single value to jsonb, like to_jsonb(). */
static Jsonb *
value_json(Datum value, Oid type)
{
	FmgrInfo	to_jsonb;

	Assert(type < FirstNormalObjectId || session_in_row());
	fmgr_info(F_TO_JSONB, &to_jsonb);
	to_jsonb.fn_expr = (Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(makeNullConst(type, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	return DatumGetJsonbP(FunctionCall1(&to_jsonb, value));
}

/* Returns the note that replaces a cut value. */
static Jsonb *
cut_note(Size size)
{
	return value_json(CStringGetTextDatum(psprintf("[cut: %zu bytes]", size)), TEXTOID);
}

/* Converts a column of a row. whole: do not cut it, whatever its size. */
static Member
make_member(TupleTableSlot *row, int i, bool whole)
{
	Form_pg_attribute att = TupleDescAttr(row->tts_tupleDescriptor, i);
	Member		m = {.name = NameStr(att->attname)};

	if (row->tts_isnull[i])
		return m;
	if (att->attlen == -1)
		m.raw_size = toast_raw_datum_size(row->tts_values[i]) - VARHDRSZ;
	if (m.raw_size > ROW_MOST && !whole)
		m.value = cut_note(m.raw_size);
	else
		m.value = value_json(row->tts_values[i], att->atttypid);
	return m;
}

/* Returns the approximate size of the object, in bytes, if columns larger than limit are cut. */
static Size
size_with_limit(const Member *members, int n, Size limit)
{
	Size		size = 0;

	for (int i = 0; i < n; i++)
	{
		Size		value = members[i].value ? VARSIZE(members[i].value) : 0;

		size += strlen(members[i].name) + 2 * sizeof(JEntry) + (value > limit ? 0 : value);
	}
	return size;
}

/* Cuts the largest columns until the row fits. */
static void
cut_members(Member *members, int n)
{
	Size		limit = ROW_MOST;

	while (size_with_limit(members, n, limit) > ROW_MOST && limit > COLUMN_LEAST)
		limit /= 2;
	for (int i = 0; i < n; i++)
	{
		Member	   *m = &members[i];

		if (m->raw_size > 0 && VARSIZE(m->value) > limit)
			m->value = cut_note(m->raw_size);
	}
}

/* Builds an object from columns. */
static Datum
make_object(const Member *members, int n)
{
	JsonbBuilder builder = {0};

	jsonb_push(&builder, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < n; i++)
	{
		const Member *m = &members[i];
		JsonbValue	key = {.type = jbvString};
		JsonbValue	value = {.type = jbvNull};

		key.val.string.val = (char *) m->name;
		key.val.string.len = strlen(m->name);
		if (m->value)
		{
			value.type = jbvBinary;
			value.val.binary.data = &m->value->root;
			value.val.binary.len = VARSIZE(m->value) - VARHDRSZ;
		}
		jsonb_push(&builder, WJB_KEY, &key);
		jsonb_push(&builder, WJB_VALUE, &value);
	}
	jsonb_push(&builder, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(jsonb_built(&builder));
}

Datum
row_json(TupleTableSlot *row, const bool *present)
{
	TupleDesc	desc = row->tts_tupleDescriptor;
	Member	   *members = palloc(desc->natts * sizeof(Member));
	int			n = 0;

	slot_getallattrs(row);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL ||
			(row->tts_isnull[i] && present && !present[i]))
			continue;
		members[n++] = make_member(row, i, false);
	}
	cut_members(members, n);
	return make_object(members, n);
}

/* Returns the position of a column in a row, which may be of a partition. */
static int
column_of(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return i;
	}
	elog(ERROR, "a row has no column \"%s\"", name);
	return -1;
}

bool
row_json_key(Relation rel, TupleTableSlot *row, Datum *result)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(rel, &attnums);
	Member		members[INDEX_MAX_KEYS];

	slot_getallattrs(row);
	for (int k = 0; k < n; k++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnums[k] - 1);

		members[k] =
			make_member(row, column_of(row->tts_tupleDescriptor, NameStr(att->attname)), true);
	}
	if (n > 0)
		*result = make_object(members, n);
	return n > 0;
}
