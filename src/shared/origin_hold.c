/*
 * origin_hold.c
 *		Lets one process at a time apply an origin's transactions.
 *
 * Two links can carry the same origin, and PostgreSQL lets only one process use a replication
 * origin. The holder of an origin reads the frontier as it is, and may move it.
 *
 * One LWLock protects the table of holds. While it is held, no process waits, no error can occur,
 * and no lock is taken except the spinlock of a condition variable that is broadcast. An entry
 * never moves while a process holds it or waits for it, so a waiter can sleep on its condition
 * variable without the lock. A waiter prepares to sleep before it tries again, so it does not miss
 * a release in between.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"

#include "base/moment.h"
#include "base/pulse.h"
#include "base/shmem.h"
#include "shared/areas.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/wakeup.h"

#define MAX_HOLDS	1024		/* (database, origin) pairs of this server */

typedef struct Hold
{
	Oid			dboid;			/* InvalidOid: free */
	NodeId		origin;
	pid_t		holder;			/* 0: not held */
	int			waiters;
	/* transactions up to here are visible; used only while there is a holder */
	XLogRecPtr	visible;
	/* greatest commit timestamp applied; PG_INT64_MIN: not known since the server started */
	TimestampTz ts;
	ConditionVariable cv;
} Hold;

typedef struct SharedHolds
{
	LWLock		lock;
	int			n;				/* entries from here on have never been used */
	Hold		holds[MAX_HOLDS];
} SharedHolds;

/* Returns the area; NULL if this server has no shared memory. */
static inline SharedHolds *
shared(void)
{
	return shmem_address(AREA_ORIGIN_HOLD);
}

static Hold *waiting = NULL;	/* the entry on which this process waits */

StaticAssertDecl(offsetof(SharedHolds, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return sizeof(SharedHolds);
}

static void
area_init(void *address)
{
	SharedHolds *area = address;

	for (int i = 0; i < MAX_HOLDS; i++)
		ConditionVariableInit(&area->holds[i].cv);
}

const ShmemArea origin_hold_area = {
	.name = "replication_plugin holds",
	.tranche = "replication_plugin_holds",
	.size = area_size,
	.init = area_init,
};

/* Returns the hold of an origin of this database; NULL if there is none. The lock is held. */
static Hold *
origin_hold_find(NodeId origin)
{
	Assert(LWLockHeldByMe(&shared()->lock));
	for (int i = 0; i < shared()->n; i++)
	{
		Hold	   *h = &shared()->holds[i];

		if (h->dboid == MyDatabaseId && h->origin == origin)
			return h;
	}
	return NULL;
}

/*
 * Makes the hold of an origin of this database; NULL if the table is full. The lock is held
 * exclusively.
 */
static Hold *
origin_hold_create(NodeId origin)
{
	Hold	   *h = NULL;

	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < shared()->n && !h; i++)
	{
		if (!OidIsValid(shared()->holds[i].dboid))
			h = &shared()->holds[i];
	}
	if (!h && shared()->n < MAX_HOLDS)
		h = &shared()->holds[shared()->n++];
	if (!h)
		return NULL;
	h->dboid = MyDatabaseId;
	h->origin = origin;
	h->holder = 0;
	h->waiters = 0;
	h->visible = InvalidXLogRecPtr;
	h->ts = PG_INT64_MIN;
	return h;
}

/* Removes this process from the waiters. */
static void
stop_waiting(void)
{
	if (!waiting)
		return;
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	Assert(waiting->waiters > 0);
	waiting->waiters--;
	LWLockRelease(&shared()->lock);
	waiting = NULL;
}

/*
 * Exit callback: releases all holds of this process. PostgreSQL's callback that gives the
 * replication origin back is registered later, at the first use of an origin, and so runs first.
 * The next holder therefore finds the replication origin free.
 */
static void
release_all(int code, Datum arg)
{
	stop_waiting();
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared()->n; i++)
	{
		Hold	   *h = &shared()->holds[i];

		if (h->holder == MyProcPid)
		{
			h->holder = 0;
			ConditionVariableBroadcast(&h->cv);
		}
	}
	LWLockRelease(&shared()->lock);
}

/*
 * Takes the hold of an origin and returns true if it is free. Otherwise makes this process one of
 * its waiters and returns false. Raises an error if the table of holds is full.
 */
static bool
try_hold(NodeId origin)
{
	/* of the last holder; until this process is the holder, that one notes what it commits */
	XLogRecPtr	progress = origin_map_progress(origin);
	Hold	   *h;
	bool		ours;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	h = waiting ? waiting : origin_hold_find(origin);
	Assert(!waiting || (h->dboid == MyDatabaseId && h->origin == origin));	/* entries never move */
	if (!h)
		h = origin_hold_create(origin);
	ours = h && h->holder == 0;
	if (ours)
	{
		h->holder = MyProcPid;
		h->visible = Max(h->visible, progress);
	}
	else if (h && !waiting)
	{
		h->waiters++;
		waiting = h;
	}
	LWLockRelease(&shared()->lock);
	if (!h)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("more than %d origins are applied on this server", MAX_HOLDS)));
	return ours;
}

void
origin_hold_release_at_exit(void)
{
	on_shmem_exit(release_all, (Datum) 0);
}

bool
origin_hold(NodeId origin, long ms)
{
	Moment		since = moment_now();
	volatile bool ours = false;

	shmem_require();
	Assert(!waiting);			/* a process waits for one hold at a time */
	if (try_hold(origin))
		return true;
	PG_TRY();
	{
		ConditionVariablePrepareToSleep(&waiting->cv);
		while (!(ours = try_hold(origin)) && (ms == 0 || !moment_is_past(since, ms)))
		{
			ConditionVariableTimedSleep(&waiting->cv, 1000, PG_WAIT_EXTENSION);
			pulse();
		}
		ConditionVariableCancelSleep();
	}
	PG_FINALLY();
	{
		stop_waiting();
	}
	PG_END_TRY();
	return ours;
}

void
origin_hold_release(NodeId origin)
{
	Hold	   *h;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	h = origin_hold_find(origin);
	if (h && h->holder == MyProcPid)
	{
		h->holder = 0;
		ConditionVariableBroadcast(&h->cv);
	}
	LWLockRelease(&shared()->lock);
}

bool
origin_hold_is_held(NodeId origin)
{
	Hold	   *h;
	bool		held;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	h = origin_hold_find(origin);
	held = h && h->holder != 0;
	LWLockRelease(&shared()->lock);
	return held;
}

bool
origin_hold_wanted(NodeId origin)
{
	Hold	   *h;
	bool		wanted;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	h = origin_hold_find(origin);
	wanted = h && h->waiters > 0;
	LWLockRelease(&shared()->lock);
	return wanted;
}

XLogRecPtr
origin_hold_visible(NodeId origin, bool durable)
{
	XLogRecPtr progress =
		durable ? origin_map_progress_durable(origin) : origin_map_progress(origin);
	Hold	   *h;

	if (!shared())
		return progress;
	LWLockAcquire(&shared()->lock, LW_SHARED);
	h = origin_hold_find(origin);
	/* without a holder, all that had progressed before is visible */
	if (h && h->holder != 0 && h->holder != MyProcPid)
		progress = Min(progress, h->visible);
	LWLockRelease(&shared()->lock);
	return progress;
}

void
origin_hold_note(NodeId origin, XLogRecPtr lsn, TimestampTz ts)
{
	Hold	   *h;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	h = origin_hold_find(origin);
	if (!h)
		h = origin_hold_create(origin);
	if (h)
	{
		h->visible = Max(h->visible, lsn);
		h->ts = Max(h->ts, ts);
	}
	LWLockRelease(&shared()->lock);
	wakeup_send(WAKEUP_APPLIED);
}

TimestampTz
origin_hold_ts(NodeId origin)
{
	Hold	   *h;
	TimestampTz ts;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	h = origin_hold_find(origin);
	ts = h ? h->ts : PG_INT64_MIN;
	LWLockRelease(&shared()->lock);
	return ts;
}

void
origin_hold_forget(Oid dboid)
{
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared()->n; i++)
	{
		Hold	   *h = &shared()->holds[i];

		if (h->dboid == dboid && h->holder == 0 && h->waiters == 0)
			h->dboid = InvalidOid;
	}
	LWLockRelease(&shared()->lock);
}
