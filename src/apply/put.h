/*
 * put.h
 *		"The row is this, as of this version": INSERT and UPDATE.
 */
#ifndef REPLICATION_PLUGIN_APPLY_PUT_H
#define REPLICATION_PLUGIN_APPLY_PUT_H

#include "apply/relation.h"
#include "log/conflict_log.h"

extern void put_insert(ApplyRelation *ar);
extern void put_update(ApplyRelation *ar);
extern void put_write(ApplyRelation *ar);	/* of a row that was parked where it comes from */

/* Once per context. */
extern void put_create(ApplyContext *cx);

/* Writes the gathered inserts. Called before anything else is done, and before commit. */
extern void put_flush(ApplyContext *cx);

/* True if inserts are gathered whose values are still needed. */
extern bool put_is_gathering(const ApplyContext *cx);

/* True if an error now may be one of any of several gathered inserts. */
extern bool put_is_writing_many(const ApplyContext *cx);

/* Forgets gathered inserts, after an abort. */
extern void put_reset(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_PUT_H */
