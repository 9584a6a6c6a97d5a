/*
 * change_name.c
 *		Describes the row and table of a decoding error, for the error context.
 *
 * An error callback must neither read catalogs nor detoast. It shows key values of a few built-in
 * types, if the row contains them inline, and replaces others by dots.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "output/change_name.h"

#define MOST_TEXT	100			/* limit of a text, in bytes */

/* Returns a text, truncated if it is long. */
static char *
text_shown(Datum value)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);
	int			len;

	if (VARATT_IS_EXTERNAL(v) || VARATT_IS_COMPRESSED(v))
		return "...";
	len = VARSIZE_ANY_EXHDR(v);
	if (len <= MOST_TEXT)
		return pnstrdup(VARDATA_ANY(v), len);
	return psprintf("%s...",
					pnstrdup(VARDATA_ANY(v), pg_mbcliplen(VARDATA_ANY(v), len, MOST_TEXT)));
}

/* Returns a key value as text. */
static char *
value_shown(Oid type, Datum value)
{
	switch (type)
	{
		case INT2OID:
			return psprintf("%d", DatumGetInt16(value));
		case INT4OID:
			return psprintf("%d", DatumGetInt32(value));
		case INT8OID:
			return psprintf(INT64_FORMAT, DatumGetInt64(value));
		case UUIDOID:
			return DatumGetCString(DirectFunctionCall1(uuid_out, value));
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return text_shown(value);
		default:
			return "...";
	}
}

/* Returns the row in the WAL that has the key: for an update or delete the old one, if present. */
static HeapTuple
row_with_key(const ReorderBufferChange *change)
{
	if (change->data.tp.oldtuple)
		return decoded_tuple(change->data.tp.oldtuple);
	return change->data.tp.newtuple ? decoded_tuple(change->data.tp.newtuple) : NULL;
}

void
change_name_context(Relation rel, const ReorderBufferChange *change, const AttrNumber *key,
					int nkeys, const char *follows)
{
	HeapTuple	tuple = change ? row_with_key(change) : NULL;
	StringInfoData row;

	initStringInfo(&row);
	for (int i = 0; tuple && i < nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), key[i] - 1);
		bool		isnull;
		Datum		value = heap_getattr(tuple, key[i], RelationGetDescr(rel), &isnull);

		appendStringInfo(&row, "%s%s=%s", i > 0 ? ", " : "row (", NameStr(att->attname),
						 isnull ? "null" : value_shown(att->atttypid, value));
	}
	if (row.len > 0)
		appendStringInfoString(&row, ") of ");
	errcontext("%stable \"%s\", %s", row.data, RelationGetRelationName(rel), follows);
}
