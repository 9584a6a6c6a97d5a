/*
 * row_estate.c
 *		Executor state for one table, to check or write a row outside a query.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/parsenodes.h"
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

void
row_generate(Relation rel, TupleTableSlot *slot)
{
	ResultRelInfo *rri;
	EState	   *estate;

	if (!RelationGetDescr(rel)->constr || !RelationGetDescr(rel)->constr->has_generated_stored)
		return;
	Assert(session_in_row());
	estate = row_estate(rel, &rri);
	slot->tts_tableOid = RelationGetRelid(rel);
	ExecComputeStoredGenerated(rri, estate, slot, CMD_INSERT);
	FreeExecutorState(estate);
}
