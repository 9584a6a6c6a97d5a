/*
 * row_estate.h
 *		Executor state for one table, to check or write a row outside a query.
 */
#ifndef REPLICATION_PLUGIN_ROW_ESTATE_H
#define REPLICATION_PLUGIN_ROW_ESTATE_H

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"

/*
 * Creates the executor state in CurrentMemoryContext; the caller frees it with FreeExecutorState().
 * The table fires no triggers.
 */
extern EState *row_estate(Relation rel, ResultRelInfo **rri);

/*
 * Computes the generated columns of a row that was stored or sent, and therefore lacks them. The
 * slot is a virtual one. Virtual columns have values then, as for whoever reads the table. The
 * caller must have become the table's owner.
 */
extern void row_generate(Relation rel, TupleTableSlot *slot);

/* Sets the virtual columns of a row to null, as a row is stored. The slot is a virtual one. */
extern void row_forget_virtual(Relation rel, TupleTableSlot *slot);

#endif							/* REPLICATION_PLUGIN_ROW_ESTATE_H */
