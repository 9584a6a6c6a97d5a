/*
 * conflict_type.c
 *		Names the types and resolutions of conflicts.
 */
#include "postgres.h"

#include "log/conflict_type.h"

static const char *const type_names[] = {
	[CONFLICT_INSERT_EXISTS] = "insert_exists",
	[CONFLICT_UPDATE_ORIGIN_DIFFERS] = "update_origin_differs",
	[CONFLICT_UPDATE_EXISTS] = "update_exists",
	[CONFLICT_UPDATE_MISSING] = "update_missing",
	[CONFLICT_UPDATE_DELETED] = "update_deleted",
	[CONFLICT_DELETE_ORIGIN_DIFFERS] = "delete_origin_differs",
	[CONFLICT_DELETE_MISSING] = "delete_missing",
	[CONFLICT_MULTIPLE_UNIQUE] = "multiple_unique_conflicts",
};

static const char *const resolution_names[] = {
	[RESOLUTION_APPLY_REMOTE] = "apply_remote",
	[RESOLUTION_KEEP_LOCAL] = "keep_local",
	[RESOLUTION_MERGED] = "merged",
	[RESOLUTION_PARKED] = "parked",
	[RESOLUTION_STOP] = "stop",
};

const char *
conflict_type_name(ConflictKind type)
{
	StaticAssertStmt(lengthof(type_names) == CONFLICT_TYPES, "each type has a name");
	return type_names[type];
}

const char *
conflict_resolution_name(ConflictResolution resolution)
{
	StaticAssertStmt(lengthof(resolution_names) == RESOLUTIONS, "each resolution has a name");
	return resolution_names[resolution];
}
