/*
 * link_status.c
 *		What link workers and managers are doing, in shared memory.
 *
 * One LWLock protects everything but two atomics. It is held for copying and comparing
 * only; nothing is waited for, and nothing can fail, while it is held. Latches are set
 * under it, so that a process that detaches (under the lock) is not signalled later.
 *
 * A link's states and who may follow:
 *
 *	STOPPED			-> STARTING, PAUSED, BACKOFF
 *	STARTING		-> CONNECTING
 *	CONNECTING		-> WAITING_FOR_SLOT, CATCHING_UP
 *	WAITING_FOR_SLOT-> CONNECTING
 *	CATCHING_UP		-> STREAMING, BLOCKED, RETRYING, CONNECTING
 *	STREAMING		-> CATCHING_UP, BLOCKED, RETRYING, CONNECTING
 *	BLOCKED			-> CATCHING_UP, CONNECTING (demand)
 *	RETRYING		-> CATCHING_UP, CONNECTING
 *	BACKOFF			-> STARTING, PAUSED, STOPPED
 *	PAUSED			-> STARTING, STOPPED
 * and each of those with a worker -> BACKOFF (error), STOPPED (worker gone).
 *
 * Holds: one process at a time applies transactions of an origin. Waiters sleep on a
 * condition variable of the hold.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "catalog/link_status.h"

#define MAX_HOLDS	1024		/* (database, origin) pairs held at the same time, ever */

typedef struct Hold
{
	Oid			dboid;			/* InvalidOid: free */
	NodeId		origin;
	pid_t		holder;			/* 0: nobody */
	int			waiters;
	ConditionVariable cv;
} Hold;

typedef struct SharedStatus
{
	LWLock		lock;
	uint64		token;			/* instance_token() */
	pg_atomic_uint32 blocked;	/* links in LINK_BLOCKED */
	Latch	   *launcher;
	int			max;
	Hold		holds[MAX_HOLDS];
	ManagerStatus managers[FLEXIBLE_ARRAY_MEMBER];	/* max, then max LinkStatus */
} SharedStatus;

static SharedStatus *shared = NULL;
static LinkStatus *links = NULL;
static Hold *waiting_on = NULL; /* hold that this process is counted as waiting for */

static const char *const state_names[] = {
	[LINK_STOPPED] = "stopped",
	[LINK_STARTING] = "starting",
	[LINK_CONNECTING] = "connecting",
	[LINK_WAITING_FOR_SLOT] = "waiting for slot",
	[LINK_CATCHING_UP] = "catching up",
	[LINK_STREAMING] = "streaming",
	[LINK_BLOCKED] = "blocked",
	[LINK_RETRYING] = "retrying",
	[LINK_BACKOFF] = "backoff",
	[LINK_PAUSED] = "paused",
};

const char *
link_state_name(LinkState state)
{
	return state_names[state];
}

/* ---------- shared memory ---------- */

static Size
managers_size(void)
{
	return MAXALIGN(offsetof(SharedStatus, managers) + setting_max_links * sizeof(ManagerStatus));
}

Size
link_status_shmem_size(void)
{
	return managers_size() + setting_max_links * sizeof(LinkStatus);
}

void
link_status_shmem_init(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("replication_plugin links", link_status_shmem_size(), &found);
	links = (LinkStatus *) ((char *) shared + managers_size());
	if (!found)
	{
		memset(shared, 0, link_status_shmem_size());
		LWLockInitialize(&shared->lock, LWLockNewTrancheId());
		pg_atomic_init_u32(&shared->blocked, 0);
		shared->max = setting_max_links;
		for (int i = 0; i < MAX_HOLDS; i++)
			ConditionVariableInit(&shared->holds[i].cv);
		if (!pg_strong_random(&shared->token, sizeof(shared->token)))
			elog(ERROR, "no random numbers");
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(shared->lock.tranche, "replication_plugin_links");
}

/* Raises the error of a missing preload. */
static void
require_shared(void)
{
	if (!shared)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication_plugin is not in shared_preload_libraries"),
				 errhint("Add it (shared_preload_libraries = 'replication_plugin') and restart the server.")));
}

uint64
instance_token(void)
{
	require_shared();
	return shared->token;
}

/* ---------- links ---------- */

int
link_status_find(Oid dboid, NodeId provider, bool create)
{
	int			found = -1;
	int			empty = -1;

	require_shared();
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->max && found < 0; i++)
	{
		if (!links[i].in_use)
			empty = empty < 0 ? i : empty;
		else if (links[i].dboid == dboid && links[i].provider == provider)
			found = i;
	}
	if (found < 0 && create && empty >= 0)
	{
		memset(&links[empty], 0, sizeof(LinkStatus));
		links[empty].in_use = true;
		links[empty].dboid = dboid;
		links[empty].provider = provider;
		found = empty;
	}
	LWLockRelease(&shared->lock);
	if (found < 0 && create)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("all %d links of this server are in use", shared->max),
				 errhint("Raise replication_plugin.max_links and restart the server.")));
	return found;
}

void
link_status_release(int index)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (links[index].state == LINK_BLOCKED)
		pg_atomic_fetch_sub_u32(&shared->blocked, 1);
	links[index].in_use = false;
	links[index].state = LINK_STOPPED;
	LWLockRelease(&shared->lock);
}

int
link_status_count(void)
{
	return shared ? shared->max : 0;
}

bool
link_status_get(int index, LinkStatus *copy)
{
	bool		in_use;

	LWLockAcquire(&shared->lock, LW_SHARED);
	in_use = links[index].in_use;
	if (in_use)
		*copy = links[index];
	LWLockRelease(&shared->lock);
	return in_use;
}

/* The worker has gone. */
static void
detach(int code, Datum arg)
{
	LinkStatus *l = &links[DatumGetInt32(arg)];

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (l->state == LINK_BLOCKED)
		pg_atomic_fetch_sub_u32(&shared->blocked, 1);
	if (l->state != LINK_BACKOFF && l->state != LINK_PAUSED)
		l->state = LINK_STOPPED;
	l->pid = 0;
	l->latch = NULL;
	if (waiting_on)
		waiting_on->waiters--;
	waiting_on = NULL;
	LWLockRelease(&shared->lock);
}

/*
 * The worker's holds go after PostgreSQL has given its replication origin back (that
 * callback is registered later, so it runs earlier): the next holder finds it free.
 */
static void
release_holds(int code, Datum arg)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_HOLDS; i++)
	{
		Hold	   *h = &shared->holds[i];

		if (h->holder == MyProcPid)
		{
			h->holder = 0;
			ConditionVariableBroadcast(&h->cv);
		}
	}
	LWLockRelease(&shared->lock);
}

bool
link_status_attach(int index)
{
	bool		ours;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	ours = links[index].in_use && links[index].pid == 0;
	if (ours)
	{
		links[index].pid = MyProcPid;
		links[index].latch = MyLatch;
	}
	LWLockRelease(&shared->lock);
	if (!ours)
		return false;
	on_shmem_exit(release_holds, (Datum) 0);
	before_shmem_exit(detach, Int32GetDatum(index));
	return true;
}

/* Changes the state; the only place that does. The lock is held. */
static void
change_state(LinkStatus *l, LinkState state)
{
	if (l->state == LINK_BLOCKED && state != LINK_BLOCKED)
		pg_atomic_fetch_sub_u32(&shared->blocked, 1);
	if (l->state != LINK_BLOCKED && state == LINK_BLOCKED)
		pg_atomic_fetch_add_u32(&shared->blocked, 1);
	if (state == LINK_STREAMING)
		l->caught_up_at = GetCurrentTimestamp();
	if (state != LINK_BLOCKED)
		l->blocked_on = INVALID_NODE_ID;
	l->state = state;
}

void
link_status_set_state(int index, LinkState state)
{
	if (links[index].state == state && state != LINK_STREAMING)
		return;					/* read without the lock: only this process writes it while it runs */
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	change_state(&links[index], state);
	LWLockRelease(&shared->lock);
}

void
link_status_set_positions(int index, XLogRecPtr received, XLogRecPtr applied,
						  XLogRecPtr confirmed, XLogRecPtr provider)
{
	LinkStatus *l = &links[index];

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	l->received_lsn = Max(l->received_lsn, received);
	l->applied_lsn = Max(l->applied_lsn, applied);
	l->confirmed_lsn = Max(l->confirmed_lsn, confirmed);
	l->provider_lsn = Max(l->provider_lsn, provider);
	LWLockRelease(&shared->lock);
}

void
link_status_add_applied(int index, uint64 rows, TimestampTz commit_ts)
{
	LinkStatus *l = &links[index];

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	l->transactions++;
	l->rows += rows;
	l->last_commit_ts = commit_ts;
	l->failures = 0;
	LWLockRelease(&shared->lock);
}

void
link_status_set_blocked(int index, NodeId origin, XLogRecPtr lsn)
{
	LinkStatus *l = &links[index];

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	change_state(l, LINK_BLOCKED);
	l->blocked_on = origin;
	l->blocked_lsn = lsn;
	l->blocked_since = GetCurrentTimestamp();
	LWLockRelease(&shared->lock);
}

void
link_status_set_error(int index, const char *message)
{
	LinkStatus *l = &links[index];
	int64		pause;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	strlcpy(l->last_error, message, LINK_ERROR_SIZE);
	l->last_error_at = GetCurrentTimestamp();
	pause = (int64) setting_retry_min << Min(l->failures, 16);
	l->failures++;
	l->next_start_at = l->last_error_at + Min(pause, (int64) setting_retry_max) * 1000;
	LWLockRelease(&shared->lock);
}

void
link_status_set_healthy(int index)
{
	/* the pause shrinks when a transaction is applied, not when a connection succeeds */
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	links[index].next_start_at = 0;
	LWLockRelease(&shared->lock);
}

void
link_status_set_stopping(int index)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	links[index].stop_requested = true;
	LWLockRelease(&shared->lock);
}

void
link_status_set_starting(int index, bool restart)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	change_state(&links[index], LINK_STARTING);
	links[index].next_start_at = GetCurrentTimestamp();	/* when it was started, until it connects */
	links[index].stop_requested = false;
	links[index].restarts += restart;
	LWLockRelease(&shared->lock);
}

void
link_status_wake_all(Oid dboid)
{
	if (pg_atomic_read_u32(&shared->blocked) == 0)
		return;
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < shared->max; i++)
	{
		if (links[i].in_use && links[i].dboid == dboid && links[i].latch &&
			links[i].state == LINK_BLOCKED)
			SetLatch(links[i].latch);
	}
	LWLockRelease(&shared->lock);
}

/* ---------- holds ---------- */

/* The hold of an origin of this database, made if missing. The lock is held. */
static Hold *
find_hold(NodeId origin)
{
	Hold	   *empty = NULL;

	for (int i = 0; i < MAX_HOLDS; i++)
	{
		Hold	   *h = &shared->holds[i];

		if (h->dboid == MyDatabaseId && h->origin == origin)
			return h;
		if (!OidIsValid(h->dboid) && !empty)
			empty = h;
		if (!OidIsValid(h->dboid))
			break;
	}
	if (empty)
	{
		empty->dboid = MyDatabaseId;
		empty->origin = origin;
	}
	return empty;
}

/* Tries to take a hold; returns where to wait, or NULL if it is ours. */
static Hold *
try_hold(NodeId origin, int waiters)
{
	Hold	   *h;
	bool		ours;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	h = find_hold(origin);
	ours = h && h->holder == 0;
	if (ours)
		h->holder = MyProcPid;
	if (h)
		h->waiters += waiters;
	LWLockRelease(&shared->lock);
	if (!h)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("more than %d origins are applied on this server", MAX_HOLDS)));
	return ours ? NULL : h;
}

/* Changes the number of waiters. */
static void
add_waiters(Hold *h, int n)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	h->waiters += n;
	waiting_on = n > 0 ? h : NULL;
	LWLockRelease(&shared->lock);
}

void
origin_hold(NodeId origin)
{
	Hold	   *h = try_hold(origin, 0);

	if (!h)
		return;
	add_waiters(h, 1);
	PG_TRY();
	{
		ConditionVariablePrepareToSleep(&h->cv);
		while (try_hold(origin, 0) != NULL)
			ConditionVariableTimedSleep(&h->cv, 1000, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
	}
	PG_FINALLY();
	{
		add_waiters(h, -1);
	}
	PG_END_TRY();
}

void
origin_hold_release(NodeId origin)
{
	Hold	   *h;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	h = find_hold(origin);
	if (h && h->holder == MyProcPid)
	{
		h->holder = 0;
		ConditionVariableBroadcast(&h->cv);
	}
	LWLockRelease(&shared->lock);
}

bool
origin_hold_wanted(NodeId origin)
{
	Hold	   *h;
	bool		wanted;

	LWLockAcquire(&shared->lock, LW_SHARED);
	h = find_hold(origin);
	wanted = h && h->waiters > 0;
	LWLockRelease(&shared->lock);
	return wanted;
}

/* ---------- managers ---------- */

/* Entry of a database, or NULL. The lock is held. */
static ManagerStatus *
find_manager(Oid dboid, bool create)
{
	ManagerStatus *empty = NULL;

	for (int i = 0; i < shared->max; i++)
	{
		ManagerStatus *m = &shared->managers[i];

		if (m->in_use && m->dboid == dboid)
			return m;
		if (!m->in_use && !empty)
			empty = m;
	}
	if (!create || !empty)
		return NULL;
	memset(empty, 0, sizeof(*empty));
	empty->in_use = true;
	empty->dboid = dboid;
	return empty;
}

void
manager_status_set_launcher(Latch *latch)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->launcher = latch;
	LWLockRelease(&shared->lock);
}

void
manager_status_request(Oid dboid)
{
	ManagerStatus *m;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	m = find_manager(dboid, true);
	if (m && m->latch)
		SetLatch(m->latch);
	else if (shared->launcher)
		SetLatch(shared->launcher);
	LWLockRelease(&shared->lock);
}

void
manager_status_reserve(Oid dboid)
{
	ManagerStatus *m;

	require_shared();
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	m = find_manager(dboid, true);
	LWLockRelease(&shared->lock);
	if (!m)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("groups in more than %d databases of this server", shared->max),
				 errhint("Raise replication_plugin.max_links and restart the server.")));
}

/* The manager has gone. */
static void
manager_detach(int code, Datum arg)
{
	ManagerStatus *m;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	m = find_manager(DatumGetObjectId(arg), false);
	if (m && m->pid == MyProcPid)
	{
		m->pid = 0;
		m->latch = NULL;
	}
	if (shared->launcher)
		SetLatch(shared->launcher);
	LWLockRelease(&shared->lock);
}

bool
manager_status_attach(Oid dboid)
{
	ManagerStatus *m;
	bool		ours = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	m = find_manager(dboid, true);
	if (m && m->pid == 0)
	{
		m->pid = MyProcPid;
		m->latch = MyLatch;
		ours = true;
	}
	LWLockRelease(&shared->lock);
	if (ours)
		before_shmem_exit(manager_detach, ObjectIdGetDatum(dboid));
	return ours;
}

void
manager_status_forget(Oid dboid)
{
	ManagerStatus *m;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	m = find_manager(dboid, false);
	if (m)
		m->in_use = false;
	LWLockRelease(&shared->lock);
}

void
manager_status_wake(Oid dboid)
{
	ManagerStatus *m;

	if (!shared)
		return;
	LWLockAcquire(&shared->lock, LW_SHARED);
	m = find_manager(dboid, false);
	if (m && m->latch)
		SetLatch(m->latch);
	LWLockRelease(&shared->lock);
}

int
manager_status_count(void)
{
	return shared ? shared->max : 0;
}

bool
manager_status_get(int index, ManagerStatus *copy)
{
	bool		in_use;

	LWLockAcquire(&shared->lock, LW_SHARED);
	in_use = shared->managers[index].in_use;
	if (in_use)
		*copy = shared->managers[index];
	LWLockRelease(&shared->lock);
	return in_use;
}
