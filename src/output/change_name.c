/*
 * change_name.c
 *		Which row of which table an error in decoding is about, for its context.
 *
 * An error callback must not look into catalogs, and not detoast: of the key it shows values of a
 * few built-in types that are in the row as they are, and stands in for the others by dots.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

#include "output/change_name.h"

#define MOST_TEXT	100			/* bytes of a text that are shown */

/* A text, cut. */
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
	return psprintf("%s...", pnstrdup(VARDATA_ANY(v), pg_mbcliplen(VARDATA_ANY(v), len, MOST_TEXT)));
}

/* A value of a key. */
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

void
change_name_context(Relation rel, const ReorderBufferChange *change, const AttrNumber *key, int nkeys, const char *follows)
{
	/* of an update or delete of a key the old row has it, if there is one */
	ReorderBufferTupleBuf *tuple = !change ? NULL : change->data.tp.oldtuple ? change->data.tp.oldtuple : change->data.tp.newtuple;
	StringInfoData row;

	initStringInfo(&row);
	for (int i = 0; tuple && i < nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), key[i] - 1);
		bool		isnull;
		Datum		value = heap_getattr(&tuple->tuple, key[i], RelationGetDescr(rel), &isnull);

		appendStringInfo(&row, "%s%s=%s", i > 0 ? ", " : "row (", NameStr(att->attname),
						 isnull ? "null" : value_shown(att->atttypid, value));
	}
	if (row.len > 0)
		appendStringInfoString(&row, ") of ");
	errcontext("%stable \"%s\", %s", row.data, RelationGetRelationName(rel), follows);
}
