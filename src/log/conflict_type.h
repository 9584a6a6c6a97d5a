/*
 * conflict_type.h
 *		The types and resolutions of conflicts.
 */
#ifndef REPLICATION_PLUGIN_CONFLICT_TYPE_H
#define REPLICATION_PLUGIN_CONFLICT_TYPE_H

/* Names are those of PostgreSQL 18. */
typedef enum ConflictKind
{
	CONFLICT_INSERT_EXISTS,
	CONFLICT_UPDATE_ORIGIN_DIFFERS,
	CONFLICT_UPDATE_EXISTS,
	CONFLICT_UPDATE_MISSING,
	CONFLICT_UPDATE_DELETED,	/* a remembered, concurrent write deleted the row */
	CONFLICT_DELETE_ORIGIN_DIFFERS,
	CONFLICT_DELETE_MISSING,
	CONFLICT_MULTIPLE_UNIQUE,
	CONFLICT_TYPES				/* number of types */
} ConflictKind;

typedef enum ConflictResolution
{
	RESOLUTION_APPLY_REMOTE,	/* the arriving write won */
	RESOLUTION_KEEP_LOCAL,		/* the arriving write lost */
	RESOLUTION_MERGED,			/* both writes stay; the policy determines what shows */
	RESOLUTION_PARKED,			/* both rows stay, but only the newer one can be shown */
	RESOLUTION_STOP,			/* neither won: the link stops until the conflict is removed */
	RESOLUTIONS					/* number of resolutions */
} ConflictResolution;

/* Return their names in conflict_log and conflict_count. */
extern const char *conflict_type_name(ConflictKind type);
extern const char *conflict_resolution_name(ConflictResolution resolution);

#endif							/* REPLICATION_PLUGIN_CONFLICT_TYPE_H */
