/*
 * unpark.h
 *		Parked rows come back when their place is free.
 */
#ifndef REPLICATION_PLUGIN_UNPARK_H
#define REPLICATION_PLUGIN_UNPARK_H

#include "apply/apply.h"

typedef enum UnparkResult
{
	UNPARK_DONE,				/* all is as it should be */
	UNPARK_MORE,				/* something came back: look again at once */
	UNPARK_SKIPPED,				/* one row failed, which is noted: the others can be looked at */
	UNPARK_LATER				/* somebody was in the way of all */
} UnparkResult;

/*
 * Looks at all parked rows of a table, from the newest down, and lets those come back that nothing
 * newer is in the way of. In a transaction of its own, under the origin of repairs. What fails is
 * noted at the row, and tried again later. It does not wait for others.
 */
extern UnparkResult unpark_table(ApplyContext *cx, Oid relid);

/* Forgets pins of rows that have been written anew, or are gone. In a transaction of its own. */
extern void unpark_collect_pins(ApplyContext *cx, Oid relid);

#endif							/* REPLICATION_PLUGIN_UNPARK_H */
