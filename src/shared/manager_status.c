/*
 * manager_status.c
 *		The databases of this server that may be in a group, and their managers.
 *
 * One LWLock protects the table. While it is held, no process waits, no error can occur and no
 * other lock is taken. Latches are set under it, so that a process that detaches (under the lock)
 * is not signalled later.
 *
 * No request is lost: "requested" is set before a latch is set. A manager clears "requested" before
 * it reads the tables, and an entry is forgotten only while "requested" is not set. The launcher
 * serves the entries that have no manager. It starts a manager again at once if the one before got
 * through its work, else after a pause that doubles each time.
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
#include "shared/manager_status.h"

#define MIN_PAUSE_MS	1000	/* a manager has this long to attach */

typedef struct SharedManagers
{
	LWLock		lock;
	uint64		token;			/* instance_token(); never changes */
	XLogRecPtr	run_start;		/* set once */
	Moment		looked_at;		/* likewise */
	Latch	   *launcher;
	pg_atomic_uint32 clock_problems;	/* number of databases with a clock problem */
	pg_atomic_uint32 copies;	/* number of databases that are copies of nodes */
	int			max;
	ManagerStatus entries[FLEXIBLE_ARRAY_MEMBER];
} SharedManagers;

/* Returns the area; NULL if this server has no shared memory. */
static inline SharedManagers *
shared(void)
{
	return shmem_address(AREA_MANAGER_STATUS);
}

static Oid	suspended = InvalidOid; /* database that this session has suspended */

StaticAssertDecl(offsetof(SharedManagers, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return offsetof(SharedManagers, entries) + setting_max_links * sizeof(ManagerStatus);
}

static void
area_init(void *address)
{
	SharedManagers *area = address;

	pg_atomic_init_u32(&area->clock_problems, 0);
	pg_atomic_init_u32(&area->copies, 0);
	area->max = setting_max_links;
	if (!pg_strong_random(&area->token, sizeof(area->token)))
		elog(ERROR, "no random numbers");
}

const ShmemArea manager_status_area = {
	.name = "replication_plugin managers",
	.tranche = "replication_plugin_managers",
	.size = area_size,
	.init = area_init,
};

uint64
instance_token(void)
{
	shmem_require();
	return shared()->token;
}

void
manager_status_set_run_start(XLogRecPtr lsn)
{
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (shared()->run_start == InvalidXLogRecPtr)
		shared()->run_start = lsn;
	LWLockRelease(&shared()->lock);
}

XLogRecPtr
manager_status_run_start(void)
{
	XLogRecPtr	lsn;

	shmem_require();
	LWLockAcquire(&shared()->lock, LW_SHARED);
	lsn = shared()->run_start;
	LWLockRelease(&shared()->lock);
	return lsn;
}

/*
 * Returns the entry of a database, made if there is none and create is set; NULL if there is none,
 * or the table is full. The lock is held.
 */
static ManagerStatus *
manager_status_entry(Oid dboid, bool create)
{
	ManagerStatus *empty = NULL;

	Assert(LWLockHeldByMe(&shared()->lock));
	Assert(!create || LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < shared()->max; i++)
	{
		ManagerStatus *m = &shared()->entries[i];

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

/* Counts anew the databases with a problem that sessions have to know of. The lock is held. */
static void
count_problems(void)
{
	uint32		clocks = 0;
	uint32		copies = 0;

	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < shared()->max; i++)
	{
		ManagerStatus *m = &shared()->entries[i];

		clocks += m->in_use && m->clock_problem.problem[0] != '\0';
		copies += m->in_use && m->is_copy;
	}
	pg_atomic_write_u32(&shared()->clock_problems, clocks);
	pg_atomic_write_u32(&shared()->copies, copies);
}

/* Wakes the manager of an entry, or the launcher if there is no manager. The lock is held. */
static void
manager_status_signal(const ManagerStatus *m)
{
	Assert(LWLockHeldByMe(&shared()->lock));
	if (m->latch)
		SetLatch(m->latch);
	else if (shared()->launcher)
		SetLatch(shared()->launcher);
}

/* ---------- the launcher ---------- */

void
manager_status_set_launcher(Latch *latch)
{
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	shared()->launcher = latch;
	LWLockRelease(&shared()->lock);
}

bool
manager_status_has_launcher(void)
{
	return shared() && *(Latch *volatile *) &shared()->launcher != NULL;
}

bool
manager_status_set_starting(Oid dboid)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, true);
	if (m)
	{
		int64 pause =
			Min((int64) setting_retry_min << Min(m->failures, 16), (int64) setting_retry_max);

		m->next_start_at = moment_after(Max(pause, MIN_PAUSE_MS));
		m->failures++;
	}
	LWLockRelease(&shared()->lock);
	return m != NULL;
}

/* ---------- sessions ---------- */

void
manager_status_reserve(Oid dboid)
{
	ManagerStatus *m;

	shmem_require();
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, true);
	if (m)
		m->requested = true;
	LWLockRelease(&shared()->lock);
	if (!m)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("groups in more than %d databases of this server", shared()->max),
				 errhint("Raise replication_plugin.max_links and restart the server.")));
}

void
manager_status_request(Oid dboid, bool in_group)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, true);
	if (m)
	{
		m->requested = true;
		m->in_group = in_group;
		manager_status_signal(m);
	}
	LWLockRelease(&shared()->lock);
}

void
manager_status_wake(Oid dboid)
{
	ManagerStatus *m;

	if (!shared())
		return;
	LWLockAcquire(&shared()->lock, LW_SHARED);
	m = manager_status_entry(dboid, false);
	if (m)
		manager_status_signal(m);
	LWLockRelease(&shared()->lock);
}

/* Changes the number of sessions that want the database's workers suspended. */
static void
add_suspended(Oid dboid, int n)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	if (m)
	{
		m->suspended = Max(m->suspended + n, 0);
		manager_status_signal(m);
	}
	LWLockRelease(&shared()->lock);
}

/* Exit callback of a session. */
static void
resume_at_exit(int code, Datum arg)
{
	manager_status_resume(suspended);
}

void
manager_status_suspend(Oid dboid)
{
	static bool registered = false;

	shmem_require();
	if (OidIsValid(suspended))
		return;
	if (!registered)
		before_shmem_exit(resume_at_exit, (Datum) 0);
	registered = true;
	suspended = dboid;
	add_suspended(dboid, 1);
}

void
manager_status_resume(Oid dboid)
{
	if (!OidIsValid(suspended))
		return;
	suspended = InvalidOid;
	add_suspended(dboid, -1);
}

/* ---------- the manager ---------- */

/* Exit callback of the manager. */
static void
manager_status_detach(int code, Datum arg)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(DatumGetObjectId(arg), false);
	if (m && m->pid == MyProcPid)
	{
		m->pid = 0;
		m->latch = NULL;
	}
	if (shared()->launcher)
		SetLatch(shared()->launcher);
	LWLockRelease(&shared()->lock);
}

bool
manager_status_attach(Oid dboid)
{
	ManagerStatus *m;
	bool		ours = false;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, true);
	if (m && m->pid == 0)
	{
		m->pid = MyProcPid;
		m->latch = MyLatch;
		if (m->attached_at == 0)
			m->attached_at = moment_now();
		ours = true;
	}
	LWLockRelease(&shared()->lock);
	if (ours)
		before_shmem_exit(manager_status_detach, ObjectIdGetDatum(dboid));
	return ours;
}

void
manager_status_look(Oid dboid)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	if (m)
		m->requested = false;
	LWLockRelease(&shared()->lock);
}

bool
manager_status_found(Oid dboid)
{
	ManagerStatus *m;
	bool		noted;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	noted = m && !m->requested;
	if (noted)
		m->in_group = true;
	if (shared()->launcher)
		SetLatch(shared()->launcher);
	LWLockRelease(&shared()->lock);
	return noted;
}

void
manager_status_healthy(Oid dboid)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	if (m)
	{
		m->failures = 0;
		m->next_start_at = 0;
	}
	LWLockRelease(&shared()->lock);
}

bool
manager_status_forget(Oid dboid)
{
	ManagerStatus *m;
	bool		forgotten;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	forgotten = !m || !m->requested;
	if (m && forgotten)
	{
		m->in_use = false;
		count_problems();
	}
	LWLockRelease(&shared()->lock);
	return forgotten;
}

/* ---------- the other workers ---------- */

/* Exit callback of a worker. */
static void
detach_worker(int code, Datum arg)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(DatumGetObjectId(arg), false);
	for (int i = 0; m && i < MANAGED_WORKERS; i++)
	{
		if (m->workers[i] == MyProcPid)
			m->workers[i] = 0;
	}
	if (m)
		manager_status_signal(m);
	LWLockRelease(&shared()->lock);
}

bool
manager_status_attach_worker(Oid dboid, ManagedWorker kind)
{
	ManagerStatus *m;
	bool		ours = false;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, true);
	if (m && m->workers[kind] == 0)
	{
		m->workers[kind] = MyProcPid;
		ours = true;
	}
	LWLockRelease(&shared()->lock);
	if (ours)
		before_shmem_exit(detach_worker, ObjectIdGetDatum(dboid));
	return ours;
}

pid_t
manager_status_worker(Oid dboid, ManagedWorker kind)
{
	ManagerStatus m;

	return manager_status_find(dboid, &m) ? m.workers[kind] : 0;
}

/* ---------- the clock ---------- */

bool
manager_status_set_clock(Oid dboid, bool judged, const ClockProblem *problem)
{
	ManagerStatus *m;
	bool		changed = false;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	if (m)
	{
		changed = (problem != NULL) != (m->clock_problem.problem[0] != '\0');
		m->clock_judged = judged;
		m->clock_problem = problem ? *problem : (ClockProblem) {""};
		count_problems();
	}
	LWLockRelease(&shared()->lock);
	return changed;
}

bool
manager_status_clock_problem(Oid dboid, bool *judged, ClockProblem *problem)
{
	ManagerStatus *m;

	*judged = false;
	*problem = (ClockProblem) {""};
	LWLockAcquire(&shared()->lock, LW_SHARED);
	m = manager_status_entry(dboid, false);
	if (m)
	{
		*judged = m->clock_judged;
		*problem = m->clock_problem;
	}
	LWLockRelease(&shared()->lock);
	return problem->problem[0] != '\0';
}

bool
manager_status_any_clock_problem(void)
{
	return pg_atomic_read_u32(&shared()->clock_problems) != 0;
}

Moment
manager_status_attached_at(Oid dboid)
{
	ManagerStatus m;

	return manager_status_find(dboid, &m) ? m.attached_at : 0;
}

/* ---------- the run of the server ---------- */

void
manager_status_set_looked_at(void)
{
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (shared()->looked_at == 0)
		shared()->looked_at = moment_now();
	LWLockRelease(&shared()->lock);
}

Moment
manager_status_looked_at(void)
{
	Moment		at;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	at = shared()->looked_at;
	LWLockRelease(&shared()->lock);
	return at;
}

void
manager_status_set_run_judged(Oid dboid)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	if (m)
		m->run_judged = true;
	LWLockRelease(&shared()->lock);
}

bool
manager_status_run_judged(Oid dboid)
{
	ManagerStatus m;

	return manager_status_find(dboid, &m) && m.run_judged;
}

/* ---------- copies ---------- */

void
manager_status_set_copy(Oid dboid, bool is_copy)
{
	ManagerStatus *m;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	m = manager_status_entry(dboid, false);
	if (m)
	{
		m->is_copy = is_copy;
		count_problems();
	}
	LWLockRelease(&shared()->lock);
}

bool
manager_status_is_copy(Oid dboid)
{
	ManagerStatus m;

	return shared() && pg_atomic_read_u32(&shared()->copies) != 0 &&
		   manager_status_find(dboid, &m) && m.is_copy;
}

/* ---------- all processes ---------- */

int
manager_status_count(void)
{
	return shared() ? shared()->max : 0;
}

int
manager_status_groups(void)
{
	ManagerStatus m;
	int			n = 0;

	for (int i = 0; i < manager_status_count(); i++)
		n += manager_status_get(i, &m) && m.in_group;
	return n;
}

bool
manager_status_get(int index, ManagerStatus *copy)
{
	bool		in_use;

	Assert(index >= 0 && index < shared()->max);
	LWLockAcquire(&shared()->lock, LW_SHARED);
	in_use = shared()->entries[index].in_use;
	if (in_use)
		*copy = shared()->entries[index];
	LWLockRelease(&shared()->lock);
	return in_use;
}

bool
manager_status_find(Oid dboid, ManagerStatus *copy)
{
	for (int i = 0; i < manager_status_count(); i++)
	{
		if (manager_status_get(i, copy) && copy->dboid == dboid)
			return true;
	}
	return false;
}
