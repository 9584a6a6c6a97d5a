/*
 * unique.h
 *		Finds rows that conflict with another row by a unique key or an exclusion constraint.
 */
#ifndef REPLICATION_PLUGIN_UNIQUE_H
#define REPLICATION_PLUGIN_UNIQUE_H

#include "apply/target.h"

typedef struct Clash
{
	/* in the target's layout, with its ctid and system columns */
	TupleTableSlot *row;
	Oid			index_id;
} Clash;

/*
 * Returns the live rows, with keys other than row's, that conflict with row: a list of Clash *,
 * with one entry for each row and index. Waits for transactions that are writing such rows; if wait
 * is not set, sets *busy instead. The caller frees the list with unique_clashes_free().
 */
extern List *unique_clashes(ApplyTarget *t, TupleTableSlot *row, bool wait, bool *busy);
extern void unique_clashes_free(List *clashes);

#endif							/* REPLICATION_PLUGIN_UNIQUE_H */
