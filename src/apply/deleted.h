/*
 * deleted.h
 *		Applies puts of rows of which a delete is remembered.
 */
#ifndef REPLICATION_PLUGIN_DELETED_H
#define REPLICATION_PLUGIN_DELETED_H

#include "apply/relation.h"
#include "base/compat.h"
#include "log/conflict_type.h"

/*
 * Returns true if a put may stand against the tombstone of its key. Can be called before or after
 * the put. Records any conflict that it finds; missing is the type of conflict if there is no
 * tombstone. row: the arriving row, in the root's layout.
 */
extern bool deleted_allows_put(ApplyRelation *ar, const Datum *key, TupleTableSlot *row,
							   ConflictKind missing);

#endif							/* REPLICATION_PLUGIN_DELETED_H */
