/*
 * unique.h
 *		Rows that stand in the way of an arriving one by another unique key.
 */
#ifndef REPLICATION_PLUGIN_APPLY_UNIQUE_H
#define REPLICATION_PLUGIN_APPLY_UNIQUE_H

#include "apply/relation.h"

/*
 * Number of unique indexes besides the key's in which another row has the values of the
 * row in slot; the first such row is put into t->found.
 */
extern int	unique_conflicts(ApplyTarget *t, TupleTableSlot *slot);

#endif							/* REPLICATION_PLUGIN_APPLY_UNIQUE_H */
