/*
 * wait_watch.c
 *		Logs which link workers of this database wait for a lock, and ends sessions that hold such
 *		locks for too long.
 *
 * A worker that sleeps on a lock cannot report it, so the manager does. The view links finds out
 * the same when it is read. A session that holds a lock for longer than
 * replication_plugin.lock_patience while a link waits for it is terminated, just as a standby
 * server cancels a query that delays replay for longer than max_standby_streaming_delay.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/settings.h"
#include "control/links/wait_watch.h"
#include "control/workers/sql.h"
#include "shared/link_status.h"

#define TELL_AFTER_MS	5000
#define SHORTEST_PATIENCE_MS	5000	/* with roles that hold such locks again and again */
#define FORGIVE_AFTER	10		/* times lock_patience */

static const char lock_wait_sql[] =
	"SELECT waits_for FROM replication_plugin.lock_wait($1::integer)";
static const char end_lock_holders_sql[] =
	"SELECT replication_plugin.end_lock_holders($1::integer, $2::oid[], $3::interval)";

/* Returns when a process began to wait for its current lock, or 0 if it waits for none. */
static TimestampTz
waits_since(pid_t pid)
{
	PGPROC	   *proc = BackendPidGetProc(pid);

	if (!proc || proc->waitStatus != PROC_WAIT_STATUS_WAITING)
		return 0;
	return (TimestampTz) pg_atomic_read_u64(&proc->waitStart);
}

/* Logs what a link waits for. */
static void
wait_watch_tell(const LinkStatus *l)
{
	char	   *waits_for = sql_value_int(lock_wait_sql, l->pid);

	if (waits_for)
		ereport(LOG, (errmsg("link from node %d waits for %s", l->provider, waits_for)));
}

/* ---------- roles that hold locks again and again ---------- */

/* A role one of whose sessions was ended because it held a lock for which a link waited. */
typedef struct Offender
{
	Oid			role;
	int			times;			/* recent ones */
	Moment		last;
} Offender;

/*
 * Returns how long, in ms, a link waits for a lock of the role's sessions: half as long with each
 * session that was ended. So no role can hold up a link for lock_patience again and again.
 */
static int
patience_with(const Offender *o)
{
	Assert(o->times > 0);
	return Max(setting_lock_patience >> Min(o->times, 20),
			   Min(SHORTEST_PATIENCE_MS, setting_lock_patience));
}

/* Forgets roles whose sessions have held no such lock for a while. */
static void
wait_watch_forgive(WaitWatch *watch)
{
	ListCell   *lc;

	foreach(lc, watch->offenders)
	{
		Offender   *o = lfirst(lc);

		if (moment_is_past(o->last,
						   Min(setting_lock_patience, INT_MAX / FORGIVE_AFTER) * FORGIVE_AFTER))
		{
			watch->offenders = foreach_delete_current(watch->offenders, lc);
			pfree(o);
		}
	}
}

/* Notes that a session of a role was ended. */
static void
note_offender(WaitWatch *watch, Oid role)
{
	MemoryContext old;
	ListCell   *lc;
	Offender   *o = NULL;

	foreach(lc, watch->offenders)
	{
		if (((Offender *) lfirst(lc))->role == role)
			o = lfirst(lc);
	}
	if (!o)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		o = palloc0(sizeof(Offender));
		o->role = role;
		watch->offenders = lappend(watch->offenders, o);
		MemoryContextSwitchTo(old);
	}
	o->times++;
	o->last = moment_now();
}

/*
 * Returns the roles for whose sessions a wait of that many milliseconds is too long, as text of an
 * array, or NULL if there are none. Sets *shortest to the least patience with any of them.
 */
static char *
hasty_roles(WaitWatch *watch, int64 waited, int *shortest)
{
	StringInfoData array;
	ListCell   *lc;

	initStringInfo(&array);
	*shortest = setting_lock_patience;
	foreach(lc, watch->offenders)
	{
		Offender   *o = lfirst(lc);

		if (waited < patience_with(o))
			continue;
		appendStringInfo(&array, "%s%u", array.len ? "," : "{", o->role);
		*shortest = Min(*shortest, patience_with(o));
	}
	if (array.len == 0)
		return NULL;
	appendStringInfoChar(&array, '}');
	return array.data;
}

/*
 * Ends the sessions that hold the lock for which a link has waited for that many milliseconds, if
 * that is too long.
 */
static void
end_holders(WaitWatch *watch, const LinkStatus *l, int64 waited)
{
	const char *params[3];
	char	   *hasty;
	char	   *ended;
	char	   *names;
	char	   *rest = NULL;
	int			shortest;

	wait_watch_forgive(watch);
	hasty = hasty_roles(watch, waited, &shortest);
	if (!hasty && waited < setting_lock_patience)
		return;
	params[0] = psprintf("%d", l->pid);
	params[1] = hasty ? hasty : "{}";
	params[2] = psprintf("%d ms", shortest);
	ended = sql_value(end_lock_holders_sql, 3, params);
	names = ended ? strchr(ended, ':') : NULL;
	if (!names)
		return;
	*names++ = '\0';
	if (waited >= setting_lock_patience)
		ereport(LOG,
				(errmsg("link from node %d has waited for longer than replication_plugin.lock_patience (%d ms): ended %s", l->provider,
						setting_lock_patience, names)));
	else
		ereport(LOG,
				(errmsg("link from node %d has waited for %d ms for a lock of a role that has kept others lately: ended %s", l->provider,
						(int) waited, names)));
	for (char *role = strtok_r(ended, " ", &rest); role; role = strtok_r(NULL, " ", &rest))
		note_offender(watch, (Oid) strtoul(role, NULL, 10));
}

/* ---------- all links ---------- */

void
wait_watch_round(WaitWatch *watch)
{
	if (!watch->told)
		watch->told = MemoryContextAllocZero(TopMemoryContext,
											 Max(link_status_count(), 1) * sizeof(TimestampTz));
	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;
		TimestampTz since;

		if (!link_status_get(i, &l) || l.dboid != MyDatabaseId || l.pid == 0)
			continue;
		since = waits_since(l.pid);
		if (since != 0 && setting_lock_patience > 0)
			end_holders(watch, &l, (GetCurrentTimestamp() - since) / 1000);
		if (since == 0 || since == watch->told[i] ||
			!TimestampDifferenceExceeds(since, GetCurrentTimestamp(), TELL_AFTER_MS))
			continue;
		wait_watch_tell(&l);
		watch->told[i] = since;
	}
}
