/*
 * wait_watch.c
 *		Which link workers of this database wait for a lock, for the log.
 *
 * A worker that sleeps for a lock can say nothing itself; the manager says it. The view links finds the same out by itself,
 * whenever somebody looks.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/link_status.h"
#include "control/sql.h"
#include "control/wait_watch.h"

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
		if (since == 0 || since == told[i] || !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), TELL_AFTER_MS))
			continue;
		tell(&l);
		told[i] = since;
	}
}
