/*
 * areas.c
 *		The areas of shared memory that the extension has.
 *
 * Each file describes its own area (base/shmem.h). No area needs another one when it is
 * initialized, so their order has no meaning.
 */
#include "postgres.h"

#include "shared/activity.h"
#include "shared/areas.h"
#include "shared/clock.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "shared/newest_delete.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/seen.h"
#include "shared/wakeup.h"
#include "shared/wall_clock.h"

const ShmemArea *const shared_areas[] = {
	[AREA_ORIGIN_MAP] = &origin_map_area,
	[AREA_LINK_STATUS] = &link_status_area,
	[AREA_MANAGER_STATUS] = &manager_status_area,
	[AREA_ORIGIN_HOLD] = &origin_hold_area,
	[AREA_ACTIVITY] = &activity_area,
	[AREA_CLOCK] = &clock_area,
	[AREA_WALL_CLOCK] = &wall_clock_area,
	[AREA_SEEN] = &seen_area,
	[AREA_NEWEST_DELETE] = &newest_delete_area,
	[AREA_WAKEUP] = &wakeup_area,
	[AREAS] = NULL
};

StaticAssertDecl(AREAS <= SHMEM_MOST_AREAS, "too many areas");
