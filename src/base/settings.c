/*
 * settings.c
 *		The extension's configuration parameters (prefix replication_plugin.).
 *
 * None of them decides the outcome of a conflict: that is decided by replicated data, which are the
 * same on every node. Most of them set how patient and how parallel this server is.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "base/settings.h"

int			setting_max_links = 64;
int			setting_copy_workers = 2;
int			setting_reroute_timeout = 10000;
int			setting_clock_offset_warning = 1000;
int			setting_max_clock_skew = 86400;
int			setting_max_retained_wal = -1;
int			setting_frontier_interval = 1000;
int			setting_retry_min = 500;
int			setting_retry_max = 30000;
int			setting_row_timeout = 60000;
int			setting_table_patience = 30000;
int			setting_lock_patience = 600000;
int			setting_contact_patience = 10000;
int			setting_conflict_retention = 30 * 86400;
int			setting_conflict_log_size = 256;
int			setting_conflict_log_rate = 100;
static bool setting_prepared_role = false;	/* never read: it marks roles, in pg_db_role_setting */

/* Defines one integer parameter. */
static void
define_int(const char *name, const char *desc, int *var, int boot, int min,
		   int max, GucContext context, int flags)
{
	DefineCustomIntVariable(name, desc, NULL, var, boot, min, max, context,
							flags, NULL, NULL, NULL);
}

void
settings_define(void)
{
	/*
	 * In a library that is loaded later the parameter has no effect, and cannot be PGC_POSTMASTER;
	 * but it may be in postgresql.conf.
	 */
	define_int("replication_plugin.max_links",
			   "Links and databases that this server can keep track of.", &setting_max_links, 64, 4,
			   4096, process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP, 0);
	define_int("replication_plugin.copy_workers",
			   "Tables copied at the same time while this node joins a group.",
			   &setting_copy_workers, 2, 1, 16, PGC_SIGHUP, 0);
	define_int("replication_plugin.reroute_timeout",
			   "How long a link may wait for another origin's transaction before it asks its own provider for it.",
			   &setting_reroute_timeout, 10000, 100, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.clock_offset_warning",
			   "Offset of a provider's clock from this one's that is worth a warning. -1: none is.",
			   &setting_clock_offset_warning, 1000, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.max_clock_skew",
			   "How far timestamps of other nodes may be ahead of this server's clock, and that from theirs. -1: no limit.",
			   &setting_max_clock_skew, 86400, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S);
	define_int("replication_plugin.max_retained_wal",
			   "WAL kept here for a member; one that needs more must join anew. -1: no limit.",
			   &setting_max_retained_wal, -1, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB);
	define_int("replication_plugin.frontier_interval",
			   "Pause between two frontier rows of this node, by which the group learns how far it is.",
			   &setting_frontier_interval, 1000, 10, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.retry_min",
			   "First pause of a worker after an error; it doubles up to retry_max.",
			   &setting_retry_min, 500, 10, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.retry_max",
			   "Longest pause of a worker between two tries.",
			   &setting_retry_max, 30000, 10, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.row_timeout",
			   "How long a worker lets one row take, apart from waiting for locks: triggers, expressions, constraints and types of the table. 0: no limit.",
			   &setting_row_timeout, 60000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.table_patience",
			   "How long a table whose changes cannot be applied here holds up its link, before it waits and the rest goes on. 0: for ever. Tables of superusers do so for ever.",
			   &setting_table_patience, 30000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.lock_patience",
			   "How long a link waits for a lock before the session that has it is ended. 0: for ever. Sessions of superusers are not ended.",
			   &setting_lock_patience, 600000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.contact_patience",
			   "How long local writes are held back after a start of the server until other members know that it was not restored from an old backup. 0: not at all, -1: until one has answered.",
			   &setting_contact_patience, 10000, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS);
	define_int("replication_plugin.conflict_retention",
			   "How long rows stay in the view conflicts; -1 keeps them for ever.",
			   &setting_conflict_retention, 30 * 86400, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S);
	define_int("replication_plugin.conflict_log_size",
			   "Size that the rows of the view conflicts may have; the oldest go first. -1: no limit.",
			   &setting_conflict_log_size, 256, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB);
	define_int("replication_plugin.conflict_log_rate",
			   "Conflicts that a link may write into the view conflicts per second; more are only counted. 0: none, -1: all.",
			   &setting_conflict_log_rate, 100, -1, INT_MAX, PGC_SIGHUP, 0);
	DefineCustomBoolVariable(
		"replication_plugin.prepared_role",
		"Marks the roles that CREATE EXTENSION has made (schema/12_roles.sql).", NULL,
		&setting_prepared_role, false, PGC_SUSET,
		GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, NULL, NULL);
}

void
settings_reserve_prefix(void)
{
	MarkGUCPrefixReserved("replication_plugin");
}
