/*
 * doubt.h
 *		Deferrable constraints of tables without a key: checked when the transaction ends.
 */
#ifndef REPLICATION_PLUGIN_APPLY_DOUBT_H
#define REPLICATION_PLUGIN_APPLY_DOUBT_H

#include "apply/apply.h"
#include "apply/target.h"

/* Remembers that a row that has just been written may violate the constraints of these indexes. */
extern void doubt_note(ApplyContext *cx, ApplyTarget *t, ItemPointer tid, List *indexes);

/* Raises the violation if one of the rows still does. */
extern void doubt_check_all(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_DOUBT_H */
