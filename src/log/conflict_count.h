/*
 * conflict_count.h
 *		How many conflicts there were, by table, type and resolution.
 */
#ifndef REPLICATION_PLUGIN_CONFLICT_COUNT_H
#define REPLICATION_PLUGIN_CONFLICT_COUNT_H

#include "log/conflict_type.h"
#include "model/version.h"

/* Counts one of the running transaction. logged: a row of conflict_log tells of it. */
extern void conflict_count_add(Oid relid, ConflictType type, ConflictResolution resolution, bool logged);

/* Adds what was counted in this transaction to the counters of a link, as part of it. */
extern void conflict_count_write(NodeId provider);

/* Forgets what was counted in a transaction that was aborted. */
extern void conflict_count_forget(void);

#endif							/* REPLICATION_PLUGIN_CONFLICT_COUNT_H */
