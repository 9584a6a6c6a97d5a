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
#include "shared/wall_clock.h"

const ShmemArea *const shared_areas[] = {
	&origin_map_area,
	&link_status_area,
	&manager_status_area,
	&origin_hold_area,
	&activity_area,
	&clock_area,
	&wall_clock_area,
	&seen_area,
	&newest_delete_area,
	NULL
};
