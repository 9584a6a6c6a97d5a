/*
 * unpark.h
 *		Lets parked rows come back when their place is free.
 */
#ifndef REPLICATION_PLUGIN_UNPARK_H
#define REPLICATION_PLUGIN_UNPARK_H

#include "apply/apply.h"
#include "apply/relation.h"
#include "store/parked.h"

typedef enum UnparkResult
{
	UNPARK_DONE,				/* nothing more to do */
	UNPARK_MORE,				/* rows came back: check again at once */
	UNPARK_SKIPPED,				/* one row failed, which is recorded: the others can be checked */
	/* no row could be checked, because other processes were in the way */
	UNPARK_LATER
} UnparkResult;

/*
 * Checks all parked rows of a table, from the newest to the oldest, and lets those come back that
 * no newer row blocks. Runs in a separate transaction, under the origin of repairs. A failure is
 * recorded with the row, which is tried again later. Does not wait for writers of conflicting rows.
 */
extern UnparkResult unpark_table(ApplyContext *cx, Oid relid);

/*
 * Returns the shown rows that are in the way of a parked one, and in *t the table in which they are:
 * a list of Clash * (apply/unique.h), whose order has no meaning. The parked row is read from its
 * entry; key: its key.
 */
extern List *unpark_clashes(ApplyRelation *ar, const Datum *key, const ParkedRow *parked,
							ApplyTarget **t);

/*
 * Removes pins of rows that have been written again, or are gone. Runs in a separate transaction.
 */
extern void unpark_collect_pins(ApplyContext *cx, Oid relid);

#endif							/* REPLICATION_PLUGIN_UNPARK_H */
