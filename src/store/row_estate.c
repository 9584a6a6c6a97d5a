/*
 * row_estate.c
 *		Executor state for one table, to check or write a row outside a query.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/parsenodes.h"
#include "rewrite/rewriteHandler.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/session.h"
#include "store/row_estate.h"

EState *
row_estate(Relation rel, ResultRelInfo **rri)
{
	EState	   *estate = CreateExecutorState();
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	/* error messages about violated constraints look up the table's columns in it */
	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = AccessShareLock;
	init_range_table(estate, rte, NULL);
	*rri = makeNode(ResultRelInfo);
	InitResultRelInfo(*rri, rel, 1, NULL, 0);
	(*rri)->ri_TrigDesc = NULL;
	return estate;
}

/* Computes one virtual column. No generation expression names another generated column. */
static void
generate_virtual(Relation rel, EState *estate, TupleTableSlot *slot, Form_pg_attribute att)
{
	Node	   *expression = build_generation_expression(rel, att->attnum);
	ExprState  *state = ExecPrepareExpr((Expr *) expression, estate);
	ExprContext *context = GetPerTupleExprContext(estate);
	bool		isnull;
	Datum		value;

	context->ecxt_scantuple = slot;
	value = ExecEvalExprSwitchContext(state, context, &isnull);
	slot->tts_values[att->attnum - 1] =
		isnull ? (Datum) 0 : datumCopy(value, att->attbyval, att->attlen);
	slot->tts_isnull[att->attnum - 1] = isnull;
}

/* Computes the virtual columns, or sets them to null if there is no executor state. */
static void
set_virtual_columns(Relation rel, EState *estate, TupleTableSlot *slot)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (!has_virtual_columns(desc))
		return;
	Assert(TTS_IS_VIRTUAL(slot));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL)
			continue;
		slot->tts_isnull[i] = true;
		if (estate)
			generate_virtual(rel, estate, slot, att);
	}
}

void
row_generate(Relation rel, TupleTableSlot *slot)
{
	TupleDesc	desc = RelationGetDescr(rel);
	ResultRelInfo *rri;
	EState	   *estate;

	if (!desc->constr || (!desc->constr->has_generated_stored && !has_virtual_columns(desc)))
		return;
	Assert(session_in_row());
	estate = row_estate(rel, &rri);
	slot->tts_tableOid = RelationGetRelid(rel);
	if (desc->constr->has_generated_stored)
		ExecComputeStoredGenerated(rri, estate, slot, CMD_INSERT);
	set_virtual_columns(rel, estate, slot);
	FreeExecutorState(estate);
}

void
row_forget_virtual(Relation rel, TupleTableSlot *slot)
{
	set_virtual_columns(rel, NULL, slot);
}
