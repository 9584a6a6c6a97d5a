/*
 * put.h
 *		Applies puts ("the row is this, as of this version"): INSERT and UPDATE.
 */
#ifndef REPLICATION_PLUGIN_APPLY_PUT_H
#define REPLICATION_PLUGIN_APPLY_PUT_H

#include "apply/relation.h"
#include "log/conflict_log.h"

extern void put_insert(ApplyRelation *ar);
extern void put_update(ApplyRelation *ar);
extern void put_write(ApplyRelation *ar);	/* of a row that was parked on its sender */

/* Creates the state of a context; called once per context. */
extern void put_create(ApplyContext *cx);

/* Writes the gathered inserts. Must be called before any other write, and before commit. */
extern void put_flush(ApplyContext *cx);

/* Returns true if there are gathered inserts, whose values are still needed. */
extern bool put_is_gathering(const ApplyContext *cx);

/* Returns true if an error now may concern any of several gathered inserts. */
extern bool put_is_writing_many(const ApplyContext *cx);

/* Forgets gathered inserts, after an abort. */
extern void put_reset(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_PUT_H */
