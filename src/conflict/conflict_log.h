/*
 * conflict_log.h
 *		The record of writes that lost, or replaced a concurrent one.
 */
#ifndef REPLICATION_PLUGIN_CONFLICT_LOG_H
#define REPLICATION_PLUGIN_CONFLICT_LOG_H

#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "model/version.h"

/* Names as PostgreSQL 18 has them. */
typedef enum ConflictType
{
	CONFLICT_INSERT_EXISTS,
	CONFLICT_UPDATE_ORIGIN_DIFFERS,
	CONFLICT_UPDATE_EXISTS,
	CONFLICT_UPDATE_MISSING,
	CONFLICT_UPDATE_DELETED,	/* the row was deleted by a concurrent write that is remembered */
	CONFLICT_DELETE_ORIGIN_DIFFERS,
	CONFLICT_DELETE_MISSING,
	CONFLICT_MULTIPLE_UNIQUE
} ConflictType;

typedef enum ConflictResolution
{
	RESOLUTION_APPLY_REMOTE,	/* the arriving write won */
	RESOLUTION_KEEP_LOCAL,		/* the arriving write lost */
	RESOLUTION_MERGED,			/* both stay; the policy says what shows */
	RESOLUTION_PARKED,			/* both rows stay, but only one can be shown: the newer */
	RESOLUTION_STOP				/* nothing won: the link stops until somebody makes room */
} ConflictResolution;


typedef struct Conflict
{
	ConflictType type;
	ConflictResolution resolution;
	Relation	rel;			/* the replicated (root) table */
	TupleTableSlot *local_row;	/* NULL: there is none */
	Version		local_version;	/* VERSION_OLDEST: unknown */
	TupleTableSlot *remote_row; /* NULL: a delete */
	const bool *remote_present; /* which of its columns are known; NULL: all */
	TupleTableSlot *key_row;	/* row to take the key from; NULL: remote_row, else local_row */
	Version		remote_version;
	bool		concurrent;		/* neither writer had seen the other's write */
	const char *policy;			/* of the table: what decides */
	const char *detail;			/* NULL: none */
} Conflict;

/*
 * Counts a conflict, and writes it to the log if the rate allows, as part of the running transaction.
 * What was counted is written by conflict_before_commit(). provider: the link by which the
 * transaction came (its counters).
 */
extern void conflict_record(const Conflict *conflict);
extern void conflict_before_commit(NodeId provider);

/* Forgets what an aborted transaction left in memory. */
extern void conflict_abort(void);

extern const char *conflict_type_name(ConflictType type);
extern const char *conflict_resolution_name(ConflictResolution resolution);

#endif							/* REPLICATION_PLUGIN_CONFLICT_LOG_H */
