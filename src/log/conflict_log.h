/*
 * conflict_log.h
 *		Records writes that lost a conflict or replaced a concurrent write.
 */
#ifndef REPLICATION_PLUGIN_CONFLICT_LOG_H
#define REPLICATION_PLUGIN_CONFLICT_LOG_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "log/conflict_type.h"
#include "model/version.h"

typedef struct Conflict
{
	ConflictKind type;
	ConflictResolution resolution;
	Relation	rel;			/* the replicated (root) table */
	TupleTableSlot *local_row;	/* NULL: there is none */
	Version		local_version;	/* VERSION_OLDEST: unknown */
	TupleTableSlot *remote_row; /* NULL: a delete */
	const bool *remote_present; /* which of its columns are known; NULL: all */
	TupleTableSlot *key_row;	/* row that has the key; NULL: remote_row, else local_row */
	Version		remote_version;
	bool		concurrent;		/* neither writer had seen the other's write */
	const char *policy;			/* of the table: the rule that decided */
	const char *detail;			/* NULL: none */
} Conflict;

/*
 * Counts a conflict, and logs it if the rate permits, as part of the running transaction.
 * conflict_before_commit() writes the counts. provider: the link through which the transaction
 * arrived, whose counters are updated.
 */
extern void conflict_record(const Conflict *conflict);
extern void conflict_before_commit(NodeId provider);

/* Forgets what an aborted transaction left in memory. */
extern void conflict_abort(void);

#endif							/* REPLICATION_PLUGIN_CONFLICT_LOG_H */
