/*
 * row_text.c
 *		Text form of rows for a new member: a jsonb object of columns, with values in the text
 *		form
 *		of their types.
 */
#include "postgres.h"

#include "access/transam.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/session.h"
#include "store/row_text.h"

void
row_text_append(StringInfo out, TupleTableSlot *row, const AttrNumber *only, int n)
{
	TupleDesc	desc = row->tts_tupleDescriptor;
	bool		first = true;
	int			nest = session_pin_text(true);

	slot_getallattrs(row);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		wanted = n == 0;

		for (int k = 0; k < n; k++)
			wanted |= only[k] == att->attnum;
		if (att->attisdropped || !wanted)
			continue;
		appendStringInfoString(out, first ? "" : ",");
		first = false;
		escape_json(out, NameStr(att->attname));
		appendStringInfoChar(out, ':');
		if (row->tts_isnull[i])
			appendStringInfoString(out, "null");
		else
			escape_json(out, OidOutputFunctionCall(session_output_function(att->atttypid),
												   row->tts_values[i]));
	}
	session_unpin(nest);
}

JsonbValue *
json_field(JsonbContainer *object, const char *name)
{
	return getKeyJsonValueFromContainer(object, name, strlen(name), NULL);
}

int64
json_number(JsonbContainer *object, const char *name)
{
	JsonbValue *v = json_field(object, name);

	return v && v->type == jbvNumeric
			   ? DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(v->val.numeric)))
			   : 0;
}

bool
json_truth(JsonbContainer *object, const char *name)
{
	JsonbValue *v = json_field(object, name);

	return v && v->type == jbvBool && v->val.boolean;
}

/* Raises the error that a value is not such a row or state. */
static void
row_text_malformed(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed row of a joining node: %s", what)));
}

JsonbContainer *
json_root(Jsonb *value)
{
	if (!JB_ROOT_IS_OBJECT(value))
		row_text_malformed("it is no object");
	return &value->root;
}

/* Returns a value as a container. Raises an error if it is not of the required kind. */
static JsonbContainer *
row_text_container(const JsonbValue *v, bool array, const char *name)
{
	if (!v || v->type != jbvBinary ||
		(array ? !JsonContainerIsArray(v->val.binary.data)
			   : !JsonContainerIsObject(v->val.binary.data)))
		row_text_malformed(psprintf("\"%s\" is no %s", name, array ? "array" : "object"));
	return v->val.binary.data;
}

JsonbContainer *
json_object_at(JsonbContainer *object, const char *name)
{
	return row_text_container(json_field(object, name), false, name);
}

JsonbContainer *
json_array_at(JsonbContainer *object, const char *name)
{
	return row_text_container(json_field(object, name), true, name);
}

JsonbContainer *
json_object_in(JsonbContainer *array, int i)
{
	return row_text_container(getIthJsonbValueFromContainer(array, i), false, "element");
}

Version
json_version(JsonbContainer *object)
{
	Version		v;
	int64		node;

	if (!json_field(object, "node"))
		return VERSION_OLDEST;
	node = json_number(object, "node");
	v = (Version) {json_number(object, "ts"), (NodeId) node};
	if (node <= 0 || node > PG_INT32_MAX || version_is_oldest(v) || version_is_self(v))
		row_text_malformed("a version is impossible");
	return v;
}

void
row_text_key(TupleTableSlot *row, const AttrNumber *attnums, int n, Datum *key)
{
	for (int k = 0; k < n; k++)
	{
		bool		isnull;

		key[k] = slot_getattr(row, attnums[k], &isnull);
		if (isnull)
			row_text_malformed("a column of the key is missing");
	}
}

TupleTableSlot *
row_text_read(Relation rel, JsonbContainer *values)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	int			nest = session_pin_text(false);

	memset(slot->tts_isnull, true, RelationGetDescr(rel)->natts * sizeof(bool));
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		JsonbValue *v = att->attisdropped ? NULL : json_field(values, NameStr(att->attname));
		Oid			in,
					param;

		if (!v || v->type != jbvString)
			continue;
		Assert(att->atttypid < FirstNormalObjectId || session_in_row());
		getTypeInputInfo(att->atttypid, &in, &param);
		slot->tts_values[i] =
			OidInputFunctionCall(in, pnstrdup(v->val.string.val, v->val.string.len), param,
								 att->atttypmod);
		slot->tts_isnull[i] = false;
	}
	session_unpin(nest);
	return ExecStoreVirtualTuple(slot);
}
