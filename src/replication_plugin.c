/*
 * replication_plugin.c
 *		Loads the library: settings, shared memory, hooks and the launcher. Nothing else belongs
 *		here.
 *
 * The library can be loaded without shared_preload_libraries (the JSON format of the output plugin
 * works so). Then there is no shared memory and no worker, and the guards refuse writes of a
 * database that is in a group (shared/requirement.h).
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "apply/image_index.h"
#include "apply/target.h"
#include "base/code_hook.h"
#include "base/fault_point.h"
#include "base/hooks.h"
#include "base/peer.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "capture/causal_context.h"
#include "capture/own_commit.h"
#include "catalog/nodes.h"
#include "catalog/waiting_table.h"
#include "control/guard/alter_guard.h"
#include "control/guard/capture_guard.h"
#include "control/guard/constraint_guard.h"
#include "control/guard/drop_guard.h"
#include "control/guard/drop_kept.h"
#include "control/guard/insertion_guard.h"
#include "control/guard/origin_guard.h"
#include "control/guard/own_guard.h"
#include "control/guard/rename_guard.h"
#include "control/guard/rewrite_guard.h"
#include "control/guard/template_guard.h"
#include "control/guard/update_guard.h"
#include "control/guard/write_guard.h"
#include "control/join/restore_guard.h"
#include "control/workers/workers.h"
#include "output/relation_cache.h"
#include "output/sent_relation.h"
#include "replication_plugin.h"
#include "shared/activity.h"
#include "shared/areas.h"
#include "shared/commit_stamp.h"
#include "shared/newest_delete.h"
#include "shared/origin_mark.h"
#include "shared/origin_map.h"
#include "shared/requirement.h"
#include "sqlapi/after.h"
#include "sqlapi/settings.h"
#include "store/capture_note.h"
#include "store/rewrite_known.h"

PG_MODULE_MAGIC;

/* ---------- hook functions, in the order in which they run ---------- */

#define PRELOADED	true		/* only if the library was loaded at server start */

/*
 * Each hook function surrounds those that follow, and PostgreSQL's own work is inside all of them.
 * The following depends on the order:
 *
 * - commit_stamp undoes what it has begun for COMMIT PREPARED if the work that it surrounds fails.
 * - restore_guard replaces a command of a schema that is restored by a changed one, and may run it
 *   more than once. The guards after it see the changed command, each time, within its
 *   subtransaction. Those before it see the original command, once.
 * - insertion_guard refuses commands that write in the middle of an insertion. capture_guard and
 *   drop_guard write to catalogs themselves before the command does, so they come after it.
 * - drop_guard locks the extension and revokes rights, so it comes last, after all that can refuse.
 */
static const UtilityTaker utility_takers[] = {
	{own_commit_command, PRELOADED},
	{commit_stamp_command, PRELOADED},
	{rewrite_guard_command, PRELOADED},
	{template_guard_command, PRELOADED},
	{restore_guard_command, PRELOADED},
	{insertion_guard_command},
	{constraint_guard_command},
	{write_guard_command},
	{capture_guard_command},
	{own_guard_command},
	{alter_guard_command},
	{update_guard_command},
	{drop_guard_command},
	{NULL}
};

/*
 * The following depends on the order: the error of drop_guard names what to call before DROP, which
 * the one of own_guard does not. What these two refuse is neither noted by capture_guard nor
 * collected by rewrite_guard.
 */
static const AccessTaker access_takers[] = {
	{ON_ACCESS(OAT_DROP), drop_guard_object},
	{ON_ACCESS(OAT_POST_CREATE) | ON_ACCESS(OAT_POST_ALTER) | ON_ACCESS(OAT_DROP),
	own_guard_object},
	{ON_ACCESS(OAT_DROP), capture_guard_object},
	{ON_ACCESS(OAT_TRUNCATE), write_guard_object},
	{ON_ACCESS(OAT_POST_ALTER), rename_guard_object},
	{ON_ACCESS(OAT_DROP), drop_kept_object},
	{ON_ACCESS(OAT_FUNCTION_EXECUTE), insertion_guard_object},
	{ON_ACCESS(OAT_FUNCTION_EXECUTE), origin_guard_object, PRELOADED},
	{ON_ACCESS(OAT_POST_CREATE), rewrite_guard_object, PRELOADED},
	{ON_ACCESS(OAT_TRUNCATE) | ON_ACCESS(OAT_POST_CREATE), own_commit_object, PRELOADED},
	{0}
};

/* The order only decides which function raises the error if two of them would refuse a command. */
static const PermsTaker perms_takers[] = {
	capture_guard_perms,
	write_guard_perms,
	insertion_guard_perms,
	constraint_guard_perms,
	own_commit_perms,
	NULL
};

/* What these have cached does not depend on one another, so their order has no meaning. */
static const TableTaker table_takers[] = {
	nodes_table_changed,
	waiting_tables_changed,
	rewrite_known_table_changed,
	target_table_changed,
	image_index_table_changed,
	sent_relation_table_changed,
	relation_cache_table_changed,
	NULL
};

static const NameTaker name_takers[] = {
	sent_relation_name_changed,
	relation_cache_name_changed,
	NULL
};

static const HookTakers takers = {
	utility_takers, access_takers, perms_takers, table_takers, name_takers
};

/* ---------- loading ---------- */

/* What only a library that is loaded at server start does. */
static void
install_preloaded(void)
{
	requirement_keep_timestamps();
	shmem_install(shared_areas);
	restore_guard_install();
	capture_note_install();
	activity_install();
	newest_delete_install();
#ifdef REPLICATION_PLUGIN_FAULT_POINTS
	fault_point_install();
#endif
	commit_stamp_install();		/* after all that need its timestamp: see below */
	own_commit_install();
	origin_guard_install();
	/* pg_upgrade wants databases without sessions and without writes, in both servers */
	if (!IsBinaryUpgrade)
		launcher_register();
}

/*
 * Transaction callbacks are called in the reverse order of their registration: so commit_stamp
 * comes after those that may write or fail before the commit, and before those that read its
 * timestamp, and own_commit before it, as it sets an origin; and origin_mark, which advances an
 * origin, after all that may fail.
 */
void
_PG_init(void)
{
	bool		preloaded = process_shared_preload_libraries_in_progress;

	origin_mark_install();
	settings_define();
	causal_context_define_setting();
	after_define_settings();
	code_hook_install();
	settings_reserve_prefix();
	hooks_install(&takers, preloaded);
	capture_guard_install();
	if (preloaded)
		install_preloaded();
	origin_map_install(preloaded);
	peer_install();
	settings_install();
}
