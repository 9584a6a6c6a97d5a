/*
 * unique.h
 *		Rows that stand in the way of another one by a unique key or an exclusion constraint.
 */
#ifndef REPLICATION_PLUGIN_UNIQUE_H
#define REPLICATION_PLUGIN_UNIQUE_H

#include "apply/target.h"

typedef struct Clash
{
	/* of the target's layout, with its place and system columns; drop it */
	TupleTableSlot *row;
	Oid			index_id;
} Clash;

/*
 * The live rows with another key than row's that row cannot be beside: a List of Clash *, a row as
 * often as indexes say so. Waits for transactions that are writing such rows; with wait unset it
 * does not, and sets *busy.
 */
extern List *unique_clashes(ApplyTarget *t, TupleTableSlot *row, bool wait, bool *busy);
extern void unique_clashes_free(List *clashes);

#endif							/* REPLICATION_PLUGIN_UNIQUE_H */
