/*
 * conflict_count.h
 *		Counts conflicts by table, type and resolution.
 */
#ifndef REPLICATION_PLUGIN_CONFLICT_COUNT_H
#define REPLICATION_PLUGIN_CONFLICT_COUNT_H

#include "base/compat.h"
#include "log/conflict_type.h"
#include "model/version.h"

/* Counts a conflict of the running transaction. logged: conflict_log has a row about it. */
extern void conflict_count_add(Oid relid, ConflictKind type, ConflictResolution resolution,
							   bool logged);

/* Adds the counts of the running transaction to the counters of a link. */
extern void conflict_count_write(NodeId provider);

/* Forgets the counts of an aborted transaction. */
extern void conflict_count_forget(void);

#endif							/* REPLICATION_PLUGIN_CONFLICT_COUNT_H */
