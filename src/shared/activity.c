/*
 * activity.c
 *		Counts the commits of a database that others should be told of.
 *
 * An atomic per database in shared memory, and nothing else on the way of a commit. The
 * databases are those that have asked (activity_count); entries are never given back, which
 * costs nothing: there are as many as databases in groups since the server was started.
 *
 * COMMIT PREPARED runs no callback; its PREPARE is counted instead, and the slow rule of the
 * frontier row (retained WAL) covers the rest.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "base/shmem.h"
#include "shared/activity.h"
#include "shared/origin_map.h"

#define MAX_DATABASES	256

typedef struct Activity
{
	LWLock		lock;			/* for adding */
	pg_atomic_uint32 n;
	struct
	{
		Oid			dboid;
		pg_atomic_uint64 commits;
	}			databases[MAX_DATABASES];
} Activity;

static Activity *shared = NULL;
static bool ignore_own = false;

StaticAssertDecl(offsetof(Activity, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return sizeof(Activity);
}

static void
area_attach(void *area, bool fresh)
{
	shared = area;
	if (!fresh)
		return;
	pg_atomic_init_u32(&shared->n, 0);
	for (int i = 0; i < MAX_DATABASES; i++)
		pg_atomic_init_u64(&shared->databases[i].commits, 0);
}

const ShmemArea activity_area = {
	.name = "replication_plugin activity",
	.tranche = "replication_plugin_activity",
	.size = area_size,
	.attach = area_attach,
};

/* The counter of this database; NULL if nobody has asked for it. */
static pg_atomic_uint64 *
counter(void)
{
	static pg_atomic_uint64 *cached = NULL;
	uint32		n = pg_atomic_read_u32(&shared->n);

	for (uint32 i = 0; i < n && !cached; i++)
	{
		if (shared->databases[i].dboid == MyDatabaseId)
			cached = &shared->databases[i].commits;
	}
	return cached;
}

void
activity_note(void)
{
	pg_atomic_uint64 *c = shared && OidIsValid(MyDatabaseId) ? counter() : NULL;

	if (c)
		pg_atomic_fetch_add_u64(c, 1);
}

/* Counts commits that have written something under no origin of ours. */
static void
at_commit(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE) && !ignore_own &&
		origin_map_node(replorigin_session_origin) == ORIGIN_NODE_LOCAL &&
		TransactionIdIsValid(GetTopTransactionIdIfAny()))
		activity_note();
}

void
activity_install(void)
{
	RegisterXactCallback(at_commit, NULL);
}

void
activity_ignore_own(void)
{
	ignore_own = true;
}

uint64
activity_count(void)
{
	pg_atomic_uint64 *c;

	shmem_require();
	c = counter();
	if (c)
		return pg_atomic_read_u64(c);
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (!counter())
	{
		uint32		n = pg_atomic_read_u32(&shared->n);

		if (n < MAX_DATABASES)
		{
			shared->databases[n].dboid = MyDatabaseId;
			pg_write_barrier();
			pg_atomic_write_u32(&shared->n, n + 1);
		}
	}
	LWLockRelease(&shared->lock);
	return 0;
}
