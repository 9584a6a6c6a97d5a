/*
 * conflict_type.h
 *		The kinds of conflicts, and how they were resolved.
 */
#ifndef REPLICATION_PLUGIN_CONFLICT_TYPE_H
#define REPLICATION_PLUGIN_CONFLICT_TYPE_H

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

/* Their names in conflict_log and conflict_count. */
extern const char *conflict_type_name(ConflictType type);
extern const char *conflict_resolution_name(ConflictResolution resolution);

#endif							/* REPLICATION_PLUGIN_CONFLICT_TYPE_H */
