/*
 * wait_watch.c
 *		Which link workers of this database wait for a lock, for the log; and whose session is ended
 *		for it.
 *
 * A worker that sleeps for a lock can say nothing itself; the manager says it. The view links finds
 * the same out by itself, whenever somebody looks. Whoever keeps a lock for longer than
 * replication_plugin.lock_patience while a link waits for it loses his session, as on a standby
 * server a query does that holds up replay for longer than max_standby_streaming_delay.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "control/links/wait_watch.h"
#include "control/workers/sql.h"
#include "shared/link_status.h"

#define TELL_AFTER_MS	5000

/* When the wait began of which the log has been told, by index of the link; in TopMemoryContext. */
static TimestampTz *told = NULL;

/* When a process began to wait for the lock that it waits for; 0: it waits for none. */
static TimestampTz
waits_since(pid_t pid)
{
	PGPROC	   *proc = BackendPidGetProc(pid);

	if (!proc || proc->waitStatus != PROC_WAIT_STATUS_WAITING)
		return 0;
	return (TimestampTz) pg_atomic_read_u64(&proc->waitStart);
}

/* Tells the log what a link waits for. */
static void
tell(const LinkStatus *l)
{
	char	   *waits_for = sql_value_int("SELECT waits_for FROM replication_plugin.lock_wait($1::integer)", l->pid);

	if (waits_for)
		ereport(LOG, (errmsg("link from node %d waits for %s", l->provider, waits_for)));
}

/* Ends the sessions that have what a link waits for. */
static void
end_holders(const LinkStatus *l)
{
	char	   *ended = sql_value_int("SELECT replication_plugin.end_lock_holders($1::integer)", l->pid);

	if (ended)
		ereport(LOG,
				(errmsg("link from node %d has waited for longer than replication_plugin.lock_patience (%d ms): ended %s", l->provider,
						setting_lock_patience, ended)));
}

void
wait_watch_round(void)
{
	if (!told)
		told = MemoryContextAllocZero(TopMemoryContext, Max(link_status_count(), 1) * sizeof(TimestampTz));
	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;
		TimestampTz since;

		if (!link_status_get(i, &l) || l.dboid != MyDatabaseId || l.pid == 0)
			continue;
		since = waits_since(l.pid);
		if (since != 0 && setting_lock_patience > 0 && TimestampDifferenceExceeds(since, GetCurrentTimestamp(), setting_lock_patience))
			end_holders(&l);
		if (since == 0 || since == told[i] || !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), TELL_AFTER_MS))
			continue;
		tell(&l);
		told[i] = since;
	}
}
