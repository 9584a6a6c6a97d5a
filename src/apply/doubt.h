/*
 * doubt.h
 *		Checks deferrable constraints of tables without a key at the end of the transaction.
 */
#ifndef REPLICATION_PLUGIN_APPLY_DOUBT_H
#define REPLICATION_PLUGIN_APPLY_DOUBT_H

#include "apply/apply.h"
#include "apply/target.h"

/* Remembers that a row just written may violate the constraints of these indexes. */
extern void doubt_note(ApplyContext *cx, ApplyTarget *t, ItemPointer tid, List *indexes);

/* Raises an error if one of the remembered rows still violates its constraint. */
extern void doubt_check_all(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_DOUBT_H */
