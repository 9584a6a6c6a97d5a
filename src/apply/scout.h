/*
 * scout.h
 *		Finds the tables of a transaction by reading it without applying it.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SCOUT_H
#define REPLICATION_PLUGIN_APPLY_SCOUT_H

#include "nodes/pg_list.h"

#include "apply/apply.h"

/* Starts a transaction. */
extern void scout_begin(ApplyContext *cx);

/* Reads one row message. */
extern void scout_message(ApplyContext *cx, WireReader *r, WireMessage type);

/*
 * Returns the tables whose rows have been read since scout_begin(), as a list of LostTable *,
 * including those of kept changes. The list is valid until the next scout_begin().
 */
extern List *scout_tables(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_SCOUT_H */
