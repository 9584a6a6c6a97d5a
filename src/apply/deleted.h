/*
 * deleted.h
 *		Puts of rows of which a delete is remembered.
 */
#ifndef REPLICATION_PLUGIN_DELETED_H
#define REPLICATION_PLUGIN_DELETED_H

#include "apply/relation.h"
#include "log/conflict_type.h"

/*
 * Looks at the tombstone of a key before (or after) a put of it: true if the put may stand. Records
 * what it finds; missing: how to call it if nothing is known of the row. row: the arriving one, in
 * the root's layout.
 */
extern bool deleted_allows_put(ApplyRelation *ar, const Datum *key, TupleTableSlot *row, ConflictType missing);

#endif							/* REPLICATION_PLUGIN_DELETED_H */
