/*
 * row.c
 *		Reads the values of arriving rows, and makes local rows of them.
 *
 * All values live in the row context, or in the row from which they were copied; they are valid
 * until the row is written.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "apply/row.h"

Missing
row_read(ApplyRelation *ar, WireTuple *t)
{
	Missing		missing = MISSING_NONE;

	Assert(ar->rel);			/* the map does not change while the relation is open */
	if (t->ncolumns != ar->remote.natts)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a row of table \"%s.%s\" has %d columns instead of %d",
						ar->remote.nspname, ar->remote.relname, t->ncolumns, ar->remote.natts)));
	memset(ar->present, 0, ar->natts * sizeof(bool));
	memset(ar->nulls, true, ar->natts * sizeof(bool));
	ar->completed = false;
	for (int i = 0; i < t->ncolumns; i++)
	{
		WireColumn *c = &t->columns[i];
		int			att = ar->local_att[i] - 1;

		if (c->kind == WIRE_UNCHANGED || c->kind == WIRE_AWAITED)
		{
			missing =
				c->kind == WIRE_AWAITED ? MISSING_FROM_PROVIDER : Max(missing, MISSING_FROM_LOCAL);
			continue;
		}
		ar->present[att] = true;
		if (c->kind == WIRE_NULL)
			continue;
		ar->values[att] = value_read(&ar->readers[i], c);
		ar->nulls[att] = false;
	}
	return missing;
}

/* Raises the error that a row came without its key. */
static void
bad_key(ApplyRelation *ar)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("a row of table \"%s.%s\" came without its key",
					ar->remote.nspname, ar->remote.relname)));
}

void
row_read_key(ApplyRelation *ar, WireTuple *key, Datum *values)
{
	if (key->ncolumns != ar->nkeys)
		bad_key(ar);
	for (int k = 0; k < ar->nkeys; k++)
	{
		WireColumn *c = &key->columns[ar->key_wire[k]];

		if (c->kind == WIRE_NULL || c->kind == WIRE_UNCHANGED || c->kind == WIRE_AWAITED)
			bad_key(ar);
		for (int i = 0; i < ar->remote.natts; i++)
		{
			if (ar->local_att[i] == ar->key_atts[k])
				values[k] = value_read(&ar->readers[i], c);
		}
	}
}

void
row_key_of_values(ApplyRelation *ar, Datum *values)
{
	Assert(ar->nkeys > 0);
	for (int k = 0; k < ar->nkeys; k++)
	{
		int			att = ar->key_atts[k] - 1;

		if (!ar->present[att] || ar->nulls[att])
			bad_key(ar);
		values[k] = ar->values[att];
	}
}

TupleTableSlot *
row_to_root_slot(ApplyRelation *ar)
{
	ExecClearTuple(ar->root_slot);
	memcpy(ar->root_slot->tts_values, ar->values, ar->natts * sizeof(Datum));
	memcpy(ar->root_slot->tts_isnull, ar->nulls, ar->natts * sizeof(bool));
	return ExecStoreVirtualTuple(ar->root_slot);
}

void
row_key_to_root_slot(ApplyRelation *ar, const Datum *key)
{
	ExecClearTuple(ar->root_slot);
	memset(ar->root_slot->tts_isnull, true, ar->natts * sizeof(bool));
	for (int k = 0; k < ar->nkeys; k++)
	{
		ar->root_slot->tts_values[ar->key_atts[k] - 1] = key[k];
		ar->root_slot->tts_isnull[ar->key_atts[k] - 1] = false;
	}
	ExecStoreVirtualTuple(ar->root_slot);
}

/* Takes the missing values from a row in the root's layout. */
static void
fill_from_base(ApplyRelation *ar, TupleTableSlot *base)
{
	slot_getallattrs(base);
	for (int att = 0; att < ar->natts; att++)
	{
		if (ar->present[att])
			continue;
		ar->values[att] = base->tts_values[att];
		ar->nulls[att] = base->tts_isnull[att];
		ar->completed = true;
	}
}

/* Forgets values that were taken from a local row whose memory is freed by now. */
static void
forget_base(ApplyRelation *ar)
{
	for (int att = 0; att < ar->natts; att++)
	{
		if (!ar->present[att])
			ar->nulls[att] = true;
	}
	ar->completed = false;
}

void
row_fill_slot(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *base, TupleTableSlot *slot)
{
	Assert(t->from_root || slot->tts_tupleDescriptor->natts == ar->natts);
	if (ar->completed)
		forget_base(ar);
	if (base && t->to_root)
		base = execute_attr_map_slot(t->to_root->attrMap, base, ar->root_slot);
	if (base)
		fill_from_base(ar, base);
	else
		row_add_defaults(ar, t->estate);
	if (t->from_root)
	{
		row_to_root_slot(ar);
		execute_attr_map_slot(t->from_root->attrMap, ar->root_slot, slot);
		return;
	}
	ExecClearTuple(slot);
	memcpy(slot->tts_values, ar->values, ar->natts * sizeof(Datum));
	memcpy(slot->tts_isnull, ar->nulls, ar->natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
}

void
row_add_defaults(ApplyRelation *ar, EState *estate)
{
	ExprContext *econtext;

	if (ar->ndefaults == 0)
		return;
	econtext = GetPerTupleExprContext(estate);
	for (int i = 0; i < ar->ndefaults; i++)
	{
		int			att = ar->default_att[i] - 1;
		Form_pg_attribute a = TupleDescAttr(ar->root_slot->tts_tupleDescriptor, att);
		Datum		value = ExecEvalExpr(ar->default_expr[i], econtext, &ar->nulls[att]);

		/*
		 * A constant belongs to its expression, which is freed when the table changes; the row may
		 * be written later.
		 */
		ar->values[att] = ar->nulls[att] ? (Datum) 0 : datumCopy(value, a->attbyval, a->attlen);
	}
}
