/*
 * replication_plugin.c
 *		What happens when the library is loaded: settings, shared memory, hooks and
 *		the launcher. Nothing else belongs here.
 *
 * The library can be loaded without shared_preload_libraries (the output plugin's
 * JSON format works so); then there is no shared memory and no worker, and the guards refuse
 * writes of a database that is in a group (shared/requirement.h).
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"

#include "base/code_hook.h"
#include "base/fault_point.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "capture/causal_context.h"
#include "control/guard/alter_guard.h"
#include "control/guard/capture_guard.h"
#include "control/guard/drop_guard.h"
#include "control/guard/insertion_guard.h"
#include "control/guard/origin_guard.h"
#include "control/guard/own_guard.h"
#include "control/guard/rename_guard.h"
#include "control/guard/rewrite_guard.h"
#include "control/guard/template_guard.h"
#include "control/guard/write_guard.h"
#include "control/join/restore_guard.h"
#include "control/workers/workers.h"
#include "replication_plugin.h"
#include "shared/activity.h"
#include "shared/clock.h"
#include "shared/commit_stamp.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "shared/newest_delete.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/requirement.h"
#include "shared/seen.h"
#include "shared/wall_clock.h"
#include "store/capture_note.h"

PG_MODULE_MAGIC;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* Reserves shared memory. */
static void
request_shmem(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(origin_map_shmem_size());
	RequestAddinShmemSpace(link_status_shmem_size());
	RequestAddinShmemSpace(manager_status_shmem_size());
	RequestAddinShmemSpace(origin_hold_shmem_size());
	RequestAddinShmemSpace(activity_shmem_size());
	RequestAddinShmemSpace(clock_shmem_size());
	RequestAddinShmemSpace(wall_clock_shmem_size());
	RequestAddinShmemSpace(seen_shmem_size());
	RequestAddinShmemSpace(newest_delete_shmem_size());
}

/* Creates or attaches to shared memory. */
static void
startup_shmem(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	origin_map_shmem_init();
	link_status_shmem_init();
	manager_status_shmem_init();
	origin_hold_shmem_init();
	activity_shmem_init();
	clock_shmem_init();
	wall_clock_shmem_init();
	seen_shmem_init();
	newest_delete_shmem_init();
	shmem_attached();
}

void
_PG_init(void)
{
	settings_define();
	causal_context_define_setting();
	code_hook_define();
	settings_reserve_prefix();
	drop_guard_install();
	alter_guard_install();
	own_guard_install();
	capture_guard_install();
	write_guard_install();
	rename_guard_install();
	insertion_guard_install();
	if (!process_shared_preload_libraries_in_progress)
		return;
	requirement_keep_timestamps();
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
	origin_guard_install();
	restore_guard_install();
	template_guard_install();
	rewrite_guard_install();
	capture_note_install();
	activity_install();
	newest_delete_install();
#ifdef REPLICATION_PLUGIN_FAULT_POINTS
	fault_point_install();
#endif
	commit_stamp_install();		/* after the other callbacks: it is called before them */
	launcher_register();
}
