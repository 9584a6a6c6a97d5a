/*
 * link_status.c
 *		The state of link workers, in shared memory.
 *
 * One LWLock protects the entries. It is held for copying and comparing only: while it is held, no
 * process waits, no error can occur and no other lock is taken. Latches are set under it, so that a
 * process that detaches (under the lock) is not signalled later.
 *
 * An entry belongs to the manager while it has no worker, and to the worker from
 * link_status_attach() until the worker exits. So no two processes change the state of an entry at
 * once. A worker is expected in LINK_STARTING only. A worker that starts too late finds another
 * state, or another worker, and exits.
 *
 * The table below has the states of a link and their successors. An error leads from each state
 * that has a worker to LINK_BACKOFF, the end of the process to LINK_STOPPED.
 *
 * The number of blocked links is an atomic beside the lock. A process that moves a frontier reads
 * the number after the frontier has moved. A link first marks itself as blocked, and then reads the
 * frontier again. So no wake-up is lost, and none costs anything while no link waits.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "shared/areas.h"
#include "shared/link_status.h"

#define BIT(state)	(1 << (state))

/* successors of every state that has a worker */
#define WORKER_ENDS	(BIT(LINK_BACKOFF) | BIT(LINK_STOPPED))

static const struct
{
	const char *name;
	int			successors;
} states[] = {
	[LINK_STOPPED] = {"stopped", BIT(LINK_STARTING) | BIT(LINK_PAUSED) | BIT(LINK_BACKOFF)},
	[LINK_STARTING] = {"starting", BIT(LINK_CONNECTING) | BIT(LINK_PAUSED) | WORKER_ENDS},
	[LINK_CONNECTING] = {"connecting",
						 BIT(LINK_WAITING_FOR_SLOT) | BIT(LINK_CATCHING_UP) | WORKER_ENDS},
	[LINK_WAITING_FOR_SLOT] = {"waiting for slot", BIT(LINK_CONNECTING) | WORKER_ENDS},
	[LINK_CATCHING_UP] = {"catching up", BIT(LINK_STREAMING) | BIT(LINK_BLOCKED) |
											 BIT(LINK_RETRYING) | BIT(LINK_CONNECTING) |
											 WORKER_ENDS},
	[LINK_STREAMING] = {"streaming", BIT(LINK_CATCHING_UP) | BIT(LINK_BLOCKED) |
										 BIT(LINK_RETRYING) | BIT(LINK_CONNECTING) | WORKER_ENDS},
	[LINK_BLOCKED] = {"blocked", BIT(LINK_CATCHING_UP) | BIT(LINK_CONNECTING) | WORKER_ENDS},
	[LINK_RETRYING] = {"retrying", BIT(LINK_CATCHING_UP) | BIT(LINK_CONNECTING) | WORKER_ENDS},
	[LINK_BACKOFF] = {"backoff", BIT(LINK_STARTING) | BIT(LINK_PAUSED) | BIT(LINK_STOPPED)},
	[LINK_PAUSED] = {"paused", BIT(LINK_STARTING) | BIT(LINK_BACKOFF) | BIT(LINK_STOPPED)},
};

typedef struct SharedLinks
{
	LWLock		lock;
	pg_atomic_uint32 blocked;	/* links in LINK_BLOCKED */
	int			max;
	LinkStatus	entries[FLEXIBLE_ARRAY_MEMBER];
} SharedLinks;

/* Returns the area; NULL if this server has no shared memory. */
static inline SharedLinks *
shared(void)
{
	return shmem_address(AREA_LINK_STATUS);
}

const char *
link_state_name(LinkState state)
{
	return states[state].name;
}

/* ---------- shared memory ---------- */

StaticAssertDecl(offsetof(SharedLinks, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return offsetof(SharedLinks, entries) + setting_max_links * sizeof(LinkStatus);
}

static void
area_init(void *address)
{
	SharedLinks *area = address;

	pg_atomic_init_u32(&area->blocked, 0);
	area->max = setting_max_links;
}

const ShmemArea link_status_area = {
	.name = "replication_plugin links",
	.tranche = "replication_plugin_links",
	.size = area_size,
	.init = area_init,
};

/* ---------- entries ---------- */

static LinkStatus *
link_status_entry(int index)
{
	Assert(index >= 0 && index < shared()->max);
	return &shared()->entries[index];
}

int
link_status_find(Oid dboid, NodeId provider, bool create)
{
	int			found = -1;
	int			empty = -1;

	if (!shared())
		return -1;
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared()->max && found < 0; i++)
	{
		LinkStatus *l = link_status_entry(i);

		if (!l->in_use)
			empty = empty < 0 ? i : empty;
		else if (l->dboid == dboid && l->provider == provider)
			found = i;
	}
	if (found < 0 && create && empty >= 0)
	{
		*link_status_entry(empty) =
			(LinkStatus) {.in_use = true,.dboid = dboid,.provider = provider};
		found = empty;
	}
	LWLockRelease(&shared()->lock);
	return found;
}

int
link_status_count(void)
{
	return shared() ? shared()->max : 0;
}

bool
link_status_get(int index, LinkStatus *copy)
{
	LinkStatus *l = link_status_entry(index);
	bool		in_use;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	in_use = l->in_use;
	if (in_use)
		*copy = *l;
	LWLockRelease(&shared()->lock);
	return in_use;
}

/* Returns true if the provider is sending in this state. */
static bool
is_connected(LinkState state)
{
	return state == LINK_CATCHING_UP || state == LINK_STREAMING || state == LINK_BLOCKED ||
		   state == LINK_RETRYING;
}

/* Changes the state of a link. No other function does. The lock is held. */
static void
change_state(LinkStatus *l, LinkState state)
{
	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	Assert(l->state == state || (states[l->state].successors & BIT(state)) != 0);
	if (l->state == LINK_BLOCKED && state != LINK_BLOCKED)
		pg_atomic_fetch_sub_u32(&shared()->blocked, 1);
	if (l->state != LINK_BLOCKED && state == LINK_BLOCKED)
		pg_atomic_fetch_add_u32(&shared()->blocked, 1);
	if (state == LINK_STREAMING)
		l->caught_up_at = GetCurrentTimestamp();
	if (is_connected(state) || state == LINK_PAUSED)
		l->down_since = 0;
	else if (l->down_since == 0)
		l->down_since = moment_now();
	if (state != LINK_BLOCKED)
		l->blocked_on = INVALID_NODE_ID;
	l->state = state;
}

/* Records an error and sets the time of the next try. The lock is held. */
static void
link_status_note_error(LinkStatus *l, const char *message, bool in_apply)
{
	int64		longest = setting_retry_max;

	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));

	/* after a long time without errors, the back-off begins anew */
	if (l->next_start_at != 0 && moment_is_past(l->next_start_at, 3 * longest))
		l->failures = 0;
	strlcpy(l->last_error, message, LINK_ERROR_SIZE);
	l->last_error_at = GetCurrentTimestamp();
	l->apply_failed = in_apply;
	l->next_start_at =
		moment_after(Min((int64) setting_retry_min << Min(l->failures, 16), longest));
	l->failures++;
}

/* ---------- the manager's side ---------- */

bool
link_status_release(int index)
{
	LinkStatus *l = link_status_entry(index);
	bool		free;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	free = l->pid == 0;
	if (free)
	{
		change_state(l, LINK_STOPPED);
		l->in_use = false;
	}
	LWLockRelease(&shared()->lock);
	return free;
}

bool
link_status_set_starting(int index, bool restart)
{
	LinkStatus *l = link_status_entry(index);
	bool		free;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	free = l->pid == 0;
	if (free)
	{
		change_state(l, LINK_STARTING);
		l->started_at = moment_now();
		l->restarts += restart;
	}
	LWLockRelease(&shared()->lock);
	return free;
}

bool
link_status_set_paused(int index)
{
	LinkStatus *l = link_status_entry(index);
	bool		free;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	free = l->pid == 0;
	if (free)
	{
		change_state(l, LINK_PAUSED);
		l->failures = 0;
	}
	LWLockRelease(&shared()->lock);
	return free;
}

bool
link_status_set_failed(int index, const char *message)
{
	LinkStatus *l = link_status_entry(index);
	bool		free;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	free = l->pid == 0;
	if (free)
	{
		link_status_note_error(l, message, false);
		change_state(l, LINK_BACKOFF);
	}
	LWLockRelease(&shared()->lock);
	return free;
}

void
link_status_set_reroute(int index, bool reroute)
{
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	link_status_entry(index)->reroute = reroute;
	LWLockRelease(&shared()->lock);
}

void
link_status_request_restart(int index)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	l->restart = true;
	l->next_start_at = 0;
	if (l->latch)
		SetLatch(l->latch);
	LWLockRelease(&shared()->lock);
}

/* ---------- the worker's side ---------- */

/* Exit callback of the worker. */
static void
link_status_detach(int code, Datum arg)
{
	LinkStatus *l = link_status_entry(DatumGetInt32(arg));

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (l->state != LINK_BACKOFF)
		change_state(l, LINK_STOPPED);
	l->pid = 0;
	l->latch = NULL;
	LWLockRelease(&shared()->lock);
}

bool
link_status_attach(int index)
{
	LinkStatus *l = link_status_entry(index);
	bool		ours;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	ours = l->in_use && l->state == LINK_STARTING && l->pid == 0;
	if (ours)
	{
		l->restart = false;
		l->pid = MyProcPid;
		l->latch = MyLatch;
	}
	LWLockRelease(&shared()->lock);
	if (ours)
		before_shmem_exit(link_status_detach, Int32GetDatum(index));
	return ours;
}

void
link_status_set_state(int index, LinkState state)
{
	LinkStatus *l = link_status_entry(index);

	if (l->state == state && state != LINK_STREAMING)
		return;					/* no lock needed to read it: only this process writes it */
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	change_state(l, state);
	LWLockRelease(&shared()->lock);
}

void
link_status_set_positions(int index, XLogRecPtr received, XLogRecPtr applied,
						  XLogRecPtr confirmed, XLogRecPtr provider)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	l->received_lsn = Max(l->received_lsn, received);
	l->applied_lsn = Max(l->applied_lsn, applied);
	l->confirmed_lsn = Max(l->confirmed_lsn, confirmed);
	l->provider_lsn = Max(l->provider_lsn, provider);
	LWLockRelease(&shared()->lock);
}

void
link_status_add_applied(int index, uint64 transactions, uint64 rows, TimestampTz commit_ts)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	l->transactions += transactions;
	l->rows += rows;
	l->last_commit_ts = commit_ts;
	l->failures = 0;
	LWLockRelease(&shared()->lock);
}

void
link_status_set_clock(int index, int64 base, int64 error)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	l->clock_base = base;
	l->clock_error = error;
	l->clock_at = moment_now();
	LWLockRelease(&shared()->lock);
}

void
link_status_set_blocked(int index, NodeId origin, XLogRecPtr lsn)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	change_state(l, LINK_BLOCKED);
	l->blocked_on = origin;
	l->blocked_lsn = lsn;
	l->blocked_since = GetCurrentTimestamp();
	LWLockRelease(&shared()->lock);
}

void
link_status_set_contact(int index, LinkContact contact)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (l->contact != CONTACT_MADE)
		l->contact = contact;
	LWLockRelease(&shared()->lock);
}

bool
link_status_restart_requested(int index)
{
	return ((volatile LinkStatus *) link_status_entry(index))->restart;
}

void
link_status_set_stream(int index, const char *wanted, const char *full, int protocol)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (strncmp(l->wanted_origins, wanted, LINK_ORIGINS_SIZE - 1) != 0)
		l->demands = 0;
	strlcpy(l->wanted_origins, wanted, LINK_ORIGINS_SIZE);
	strlcpy(l->full_origins, full, LINK_ORIGINS_SIZE);
	l->protocol = protocol;
	if (strcmp(wanted, full) != 0 && l->demanded_at == 0)
		l->demands++;
	l->demanded_at = strcmp(wanted, full) == 0 ? 0 : moment_now();
	l->restart = false;
	LWLockRelease(&shared()->lock);
}

void
link_status_set_error(int index, const char *message, bool in_apply)
{
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	link_status_note_error(link_status_entry(index), message, in_apply);
	LWLockRelease(&shared()->lock);
}

Moment
link_status_trouble(int index, NodeId origin, XLogRecPtr lsn)
{
	LinkStatus *l = link_status_entry(index);
	Moment		since;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (l->trouble_origin != origin || l->trouble_lsn != lsn)
	{
		l->trouble_origin = origin;
		l->trouble_lsn = lsn;
		l->trouble_since = moment_now();
	}
	since = l->trouble_since;
	LWLockRelease(&shared()->lock);
	return since;
}

void
link_status_set_ended_at(int index, const char *nspname, const char *relname)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	strlcpy(l->ended_nspname, nspname, NAMEDATALEN);
	strlcpy(l->ended_relname, relname, NAMEDATALEN);
	LWLockRelease(&shared()->lock);
}

bool
link_status_take_ended_at(int index, char *nspname, char *relname)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	strlcpy(nspname, l->ended_nspname, NAMEDATALEN);
	strlcpy(relname, l->ended_relname, NAMEDATALEN);
	l->ended_nspname[0] = '\0';
	LWLockRelease(&shared()->lock);
	return nspname[0] != '\0';
}

void
link_status_tell(int index, const char *message)
{
	LinkStatus *l = link_status_entry(index);

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	strlcpy(l->last_error, message, LINK_ERROR_SIZE);
	l->last_error_at = GetCurrentTimestamp();
	LWLockRelease(&shared()->lock);
}

void
link_status_set_healthy(int index)
{
	LinkStatus *l = link_status_entry(index);

	/* only applying a transaction resets the back-off, not connecting */
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	l->next_start_at = 0;
	l->apply_failed = false;
	LWLockRelease(&shared()->lock);
}

void
link_status_wake_blocked(Oid dboid, NodeId origin, XLogRecPtr lsn)
{
	if (pg_atomic_read_u32(&shared()->blocked) == 0)
		return;
	LWLockAcquire(&shared()->lock, LW_SHARED);
	for (int i = 0; i < shared()->max; i++)
	{
		LinkStatus *l = link_status_entry(i);

		if (l->in_use && l->dboid == dboid && l->latch && l->state == LINK_BLOCKED &&
			l->blocked_on == origin && l->blocked_lsn <= lsn)
			SetLatch(l->latch);
	}
	LWLockRelease(&shared()->lock);
}
