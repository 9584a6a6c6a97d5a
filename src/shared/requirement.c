/*
 * requirement.c
 *		The requirements that a server must meet so that a database of it can be a member.
 *
 * They are checked when a node is made, and then at every write, because a server can be restarted
 * with other settings. While one is not met, local writes to replicated tables are refused
 * (control/guard/write_guard.c, and the triggers), and no worker of the extension applies anything
 * (control/links/manager.c). Reading works.
 *
 * One requirement is that the clock is no further than max_clock_skew from those of the other
 * members (control/group/clock_guard.c). It does not stop the workers: applying is correct then as
 * well, and it is how the server learns that the clocks agree again.
 *
 * PostgreSQL discards all commit timestamps, which are the versions of rows, when it is started
 * without track_commit_timestamp. So a server that is started without it while it has a group slot
 * goes on keeping them, but does not meet the requirement. Nothing is lost until the setting is
 * corrected.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "shared/clock.h"
#include "shared/manager_status.h"
#include "shared/requirement.h"
#include "shared/wall_clock.h"

#define SLOT_DIRECTORY	"pg_replslot"
#define SLOT_PREFIX		"replication_plugin_"
#define SLOT_SUFFIX		"_group"

static bool timestamps_off = false;	/* by the server's settings; timestamps are kept all the same */

/* Returns true if a slot's name is that of a group slot. */
static bool
is_group_slot(const char *name)
{
	size_t		len = strlen(name);

	return strncmp(name, SLOT_PREFIX, strlen(SLOT_PREFIX)) == 0 && len > strlen(SLOT_SUFFIX) &&
		strcmp(name + len - strlen(SLOT_SUFFIX), SLOT_SUFFIX) == 0;
}

/* Returns true if the server has a group slot, that is, if one of its databases is a member. */
static bool
has_group_slot(void)
{
	DIR		   *dir = AllocateDir(SLOT_DIRECTORY);
	struct dirent *de;
	bool		found = false;

	while (!found && (de = ReadDirExtended(dir, SLOT_DIRECTORY, LOG)) != NULL)
		found = is_group_slot(de->d_name);
	if (dir)
		FreeDir(dir);
	return found;
}

void
requirement_keep_timestamps(void)
{
	if (track_commit_timestamp || !has_group_slot())
		return;
	timestamps_off = true;
	SetConfigOption("track_commit_timestamp", "on", PGC_POSTMASTER, PGC_S_ARGV);
	ereport(WARNING,
			(errmsg("track_commit_timestamp is off, but databases of this server are in replication groups"),
			 errdetail("Commit timestamps are kept all the same, so that the versions of rows are not lost;"
					   " writes to replicated tables are refused."),
			 errhint("Set track_commit_timestamp = on and restart the server.")));
}

/*
 * Returns the problem with this server's clock that this database's node knows, palloc'd; NULL if
 * there is none.
 */
static const Unmet *
unmet_by_clock(void)
{
	bool		at_start;
	bool		judged;
	ClockProblem p;
	Unmet	   *u;

	clock_ensure_restored();
	at_start = wall_clock_doubted_at_start();
	if ((!at_start && !manager_status_any_clock_problem()) || !OidIsValid(MyDatabaseId))
		return NULL;
	if (!manager_status_clock_problem(MyDatabaseId, &judged, &p))
	{
		if (!at_start || judged)
			return NULL;
		snprintf(p.problem, sizeof(p.problem),
				 "the clock of this server has gone %s %s since it was stopped, and has not been compared with those of other members yet",
				 wall_clock_span(wall_clock_doubt()), wall_clock_doubt() > 0 ? "on" : "back");
		strlcpy(p.fix, CLOCK_FIX, sizeof(p.fix));
	}
	u = palloc(sizeof(Unmet));
	*u = (Unmet) {pstrdup(p.problem), pstrdup(p.fix)};
	return u;
}

const Unmet *
requirement_unmet(void)
{
	const Unmet *u = requirement_unmet_by_server();

	return u ? u : unmet_by_clock();
}

const Unmet *
requirement_unmet_by_server(void)
{
	static const Unmet no_shmem = {SHMEM_MISSING, SHMEM_MISSING_HINT};
	static const Unmet no_timestamps = {"track_commit_timestamp is off",
	"ALTER SYSTEM SET track_commit_timestamp = on; restart the server."};
	static const Unmet no_logical = {"wal_level is not logical", "ALTER SYSTEM SET wal_level = logical; restart the server."};

	if (!shmem_exists())
		return &no_shmem;
	if (timestamps_off || !track_commit_timestamp)
		return &no_timestamps;
	if (wal_level < LEAST_WAL_LEVEL)
		return &no_logical;
	return NULL;
}

void
requirement_check(void)
{
	const Unmet *unmet = requirement_unmet();

	if (unmet)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server is not ready for replication: %s", unmet->problem),
				 errhint("%s", unmet->fix)));
}
