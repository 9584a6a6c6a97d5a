/*
 * activity.c
 *		Counts the commits of a database that the other members should learn of.
 *
 * The count is one atomic per database in shared memory. A commit adds to it and does nothing else.
 * A database has an entry from its first call of activity_count() on. Entries are never freed:
 * there are at most as many as databases that were in groups since the server was started.
 *
 * COMMIT PREPARED calls no transaction callback, so its PREPARE is counted instead. The frontier
 * row that is written for retained WAL covers the rest.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "base/compat.h"
#include "base/own_worker.h"
#include "base/shmem.h"
#include "shared/areas.h"
#include "shared/activity.h"
#include "shared/origin_map.h"

#define MAX_DATABASES	256

typedef struct Activity
{
	LWLock		lock;			/* for adding entries */
	pg_atomic_uint32 n;
	struct
	{
		Oid			dboid;
		pg_atomic_uint64 commits;
	}			databases[MAX_DATABASES];
} Activity;

/* Returns the area; NULL if this server has no shared memory. */
static inline Activity *
shared(void)
{
	return shmem_address(AREA_ACTIVITY);
}


StaticAssertDecl(offsetof(Activity, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return sizeof(Activity);
}

static void
area_init(void *address)
{
	Activity   *area = address;

	pg_atomic_init_u32(&area->n, 0);
	for (int i = 0; i < MAX_DATABASES; i++)
		pg_atomic_init_u64(&area->databases[i].commits, 0);
}

const ShmemArea activity_area = {
	.name = "replication_plugin activity",
	.tranche = "replication_plugin_activity",
	.size = area_size,
	.init = area_init,
};

/* Returns the counter of this database; NULL if activity_count() has not been called in it. */
static pg_atomic_uint64 *
activity_counter(void)
{
	uint32		n = pg_atomic_read_u32(&shared()->n);

	for (uint32 i = 0; i < n; i++)
	{
		if (shared()->databases[i].dboid == MyDatabaseId)
			return &shared()->databases[i].commits;
	}
	return NULL;
}

void
activity_note(void)
{
	pg_atomic_uint64 *c = shared() && OidIsValid(MyDatabaseId) ? activity_counter() : NULL;

	if (c)
		pg_atomic_fetch_add_u64(c, 1);
}

/*
 * Transaction callback. Counts commits that have written something, unless they run under an origin
 * of another node or a repair, or in a worker of the extension.
 */
static void
at_commit(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE) && !is_own_worker() &&
		origin_map_node(replorigin_session_origin) == ORIGIN_NODE_LOCAL &&
		TransactionIdIsValid(GetTopTransactionIdIfAny()))
		activity_note();
}

void
activity_install(void)
{
	RegisterXactCallback(at_commit, NULL);
}

uint64
activity_count(void)
{
	pg_atomic_uint64 *c;

	shmem_require();
	c = activity_counter();
	if (c)
		return pg_atomic_read_u64(c);
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (!activity_counter())
	{
		uint32		n = pg_atomic_read_u32(&shared()->n);

		if (n < MAX_DATABASES)
		{
			shared()->databases[n].dboid = MyDatabaseId;
			pg_write_barrier();
			pg_atomic_write_u32(&shared()->n, n + 1);
		}
	}
	LWLockRelease(&shared()->lock);
	return 0;
}
