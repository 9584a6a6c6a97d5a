/*
 * areas.h
 *		The areas of shared memory that the extension has.
 */
#ifndef REPLICATION_PLUGIN_AREAS_H
#define REPLICATION_PLUGIN_AREAS_H

#include "base/shmem.h"

/* The places of the areas in the list, by which each file finds its own area. */
typedef enum SharedArea
{
	AREA_ORIGIN_MAP,
	AREA_LINK_STATUS,
	AREA_MANAGER_STATUS,
	AREA_ORIGIN_HOLD,
	AREA_ACTIVITY,
	AREA_CLOCK,
	AREA_WALL_CLOCK,
	AREA_SEEN,
	AREA_NEWEST_DELETE,
	AREA_WAKEUP,
	AREAS
} SharedArea;

/* The areas; the last element is NULL. */
extern const ShmemArea *const shared_areas[];

#endif							/* REPLICATION_PLUGIN_AREAS_H */
