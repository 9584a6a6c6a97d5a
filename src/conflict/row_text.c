/*
 * row_text.c
 *		Rows on their way to a new member: a jsonb object of columns, values in the types' text form.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/session.h"
#include "conflict/row_text.h"

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
		Oid			fn;
		bool		varlena;

		for (int k = 0; k < n; k++)
			wanted |= only[k] == att->attnum;
		if (att->attisdropped || att->attgenerated || !wanted)
			continue;
		appendStringInfoString(out, first ? "" : ",");
		first = false;
		escape_json(out, NameStr(att->attname));
		appendStringInfoChar(out, ':');
		getTypeOutputInfo(att->atttypid, &fn, &varlena);
		if (row->tts_isnull[i])
			appendStringInfoString(out, "null");
		else
			escape_json(out, OidOutputFunctionCall(fn, row->tts_values[i]));
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

	return v && v->type == jbvNumeric ? DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(v->val.numeric))) : 0;
}

bool
json_truth(JsonbContainer *object, const char *name)
{
	JsonbValue *v = json_field(object, name);

	return v && v->type == jbvBool && v->val.boolean;
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
		getTypeInputInfo(att->atttypid, &in, &param);
		slot->tts_values[i] = OidInputFunctionCall(in, pnstrdup(v->val.string.val, v->val.string.len), param, att->atttypmod);
		slot->tts_isnull[i] = false;
	}
	session_unpin(nest);
	return ExecStoreVirtualTuple(slot);
}
