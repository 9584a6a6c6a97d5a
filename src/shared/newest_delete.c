/*
 * newest_delete.c
 *		The newest remembered delete (tombstone) of each table, by node, in shared memory.
 *
 * A tombstone counts from before it is written. Its transaction first announces that it is writing
 * (newest_delete_writing()). At its end, before it releases its locks, it notes the version of its
 * deletes. Until then every reader is told that there may be a delete that its writer has not seen.
 * So a reader misses nothing if it does what readers of tombstones have to do: make its row
 * findable first, and ask then.
 *
 * A stored timestamp never decreases, and may be too new (if a subtransaction was rolled back, or
 * two tables share a bucket). The cost of that is one search for tombstones.
 *
 * The transactions of this node have ORIGIN_NODE_LOCAL here, because the node may not know its
 * number yet.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "port/atomics.h"
#include "replication/origin.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "catalog/nodes.h"
#include "shared/areas.h"
#include "shared/newest_delete.h"
#include "shared/origin_map.h"

#define BUCKETS			1024	/* of tables; several tables may share one */
#define BUCKET_NODES	16
#define MAX_DATABASES	256

typedef struct Newest
{
	NodeId		node;
	TimestampTz ts;
} Newest;

typedef struct Bucket
{
	slock_t		mutex;
	int			writing;		/* transactions in progress that write tombstones */
	int			n;
	TimestampTz rest;			/* newest of the nodes without an entry; PG_INT64_MIN: none */
	Newest		newest[BUCKET_NODES];
} Bucket;

/*
 * A database, and whether its buckets have the tombstones that were written before the server was
 * started, and those of transactions that were prepared since.
 */
typedef struct Database
{
	Oid			dboid;
	bool		known;
	uint64		prepared;		/* counts prepared transactions */
} Database;

typedef struct Shared
{
	LWLock		lock;			/* protects the databases */
	int			ndatabases;
	Database	databases[MAX_DATABASES];
	Bucket		buckets[BUCKETS];
} Shared;

/* Returns the area; NULL if this server has no shared memory. */
static inline Shared *
shared(void)
{
	return shmem_address(AREA_NEWEST_DELETE);
}

/* The buckets in which the running transaction is counted, and the version of its deletes. */
static Bitmapset *writing = NULL;	/* in TopTransactionContext */
static Newest own;

StaticAssertDecl(offsetof(Shared, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return MAXALIGN(sizeof(Shared));
}

static void
area_init(void *address)
{
	Shared	   *area = address;

	for (int i = 0; i < BUCKETS; i++)
	{
		SpinLockInit(&area->buckets[i].mutex);
		area->buckets[i].rest = PG_INT64_MIN;
	}
}

const ShmemArea newest_delete_area = {
	.name = "replication_plugin newest deletes",
	.tranche = "replication_plugin_newest_delete",
	.size = area_size,
	.init = area_init,
};

/* Returns the bucket of a table of this database. */
static int
bucket_of(Oid relid)
{
	return hash_combine(murmurhash32(MyDatabaseId), murmurhash32(relid)) % BUCKETS;
}

/* ---------- writers ---------- */

void
newest_delete_writing(Oid relid)
{
	int			i;
	MemoryContext old;

	if (!shared())
		return;
	i = bucket_of(relid);
	if (bms_is_member(i, writing))
		return;
	Assert(IsTransactionState());
	old = MemoryContextSwitchTo(TopTransactionContext);
	writing = bms_add_member(writing, i);	/* may run out of memory, so it comes first */
	MemoryContextSwitchTo(old);
	SpinLockAcquire(&shared()->buckets[i].mutex);
	shared()->buckets[i].writing++;
	SpinLockRelease(&shared()->buckets[i].mutex);
}

/*
 * Raises the entry of a node in a bucket. In a full bucket, the oldest entry is merged into "rest".
 * The spinlock is held.
 */
static void
raise_bucket(Bucket *b, Newest what)
{
	int			oldest = 0;

	Assert(b->n >= 0 && b->n <= BUCKET_NODES);
	for (int i = 0; i < b->n; i++)
	{
		if (b->newest[i].node == what.node)
		{
			b->newest[i].ts = Max(b->newest[i].ts, what.ts);
			return;
		}
		if (b->newest[i].ts < b->newest[oldest].ts)
			oldest = i;
	}
	if (b->n < BUCKET_NODES)
	{
		b->newest[b->n++] = what;
		return;
	}
	Assert(b->n == BUCKET_NODES);
	b->rest = Max(b->rest, Min(b->newest[oldest].ts, what.ts));
	if (what.ts > b->newest[oldest].ts)
		b->newest[oldest] = what;
}

/* Ends the announcement of the transaction. If it committed, its version is noted. */
static void
end_writing(bool committed)
{
	int			i = -1;

	while ((i = bms_next_member(writing, i)) >= 0)
	{
		Bucket	   *b = &shared()->buckets[i];

		SpinLockAcquire(&b->mutex);
		if (committed)
			raise_bucket(b, own);
		Assert(b->writing > 0);
		b->writing--;
		SpinLockRelease(&b->mutex);
	}
	writing = NULL;				/* the end of the transaction frees the memory */
}

/*
 * Notes the version that the commit will have: that of its origin, or one of this node. A timestamp
 * of 0 stands for PostgreSQL's own timestamp. May raise errors.
 */
static void
note_own_version(void)
{
	own = (Newest) {ORIGIN_NODE_LOCAL, 0};
	if (replorigin_session_origin == InvalidRepOriginId)
		return;
	own.ts = replorigin_session_origin_timestamp;
	if (replorigin_session_origin == DoNotReplicateId)
		/*
		 * a local commit with a timestamp of the clock, set by commit_stamp.c, which is called
		 * before
		 */
		return;
	origin_map_ensure_loaded();
	own.node = origin_map_node(replorigin_session_origin);
}

/*
 * Returns the entry of this database, made if there is none; NULL if the table is full. The lock is
 * held.
 */
static Database *
newest_delete_database(void)
{
	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < shared()->ndatabases; i++)
	{
		if (shared()->databases[i].dboid == MyDatabaseId)
			return &shared()->databases[i];
	}
	if (shared()->ndatabases == MAX_DATABASES)
		return NULL;
	shared()->databases[shared()->ndatabases] = (Database) {.dboid = MyDatabaseId};
	return &shared()->databases[shared()->ndatabases++];
}

/*
 * Notes that the transaction is prepared. The process that ends it does not know which tombstones
 * it has written, so all of them have to be read once more.
 */
static void
note_prepared(void)
{
	Database   *d;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	d = newest_delete_database();
	if (d)
	{
		d->known = false;
		d->prepared++;
	}
	LWLockRelease(&shared()->lock);
}

static void
newest_delete_at_transaction_event(XactEvent event, void *arg)
{
	if (!writing)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			note_own_version();
			break;
		case XACT_EVENT_COMMIT:
			if (own.ts == 0)
				own.ts = GetCurrentTransactionStopTimestamp();
			end_writing(true);
			break;
		case XACT_EVENT_PREPARE:
			note_prepared();
			end_writing(false);
			break;
		case XACT_EVENT_ABORT:
			end_writing(false);
			break;
		default:
			break;
	}
}

void
newest_delete_install(void)
{
	RegisterXactCallback(newest_delete_at_transaction_event, NULL);
}

/* ---------- readers ---------- */

/*
 * Returns true if the buckets have what was written before the server was started, and by prepared
 * transactions.
 */
static bool
is_known(void)
{
	bool		known = false;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	for (int i = 0; i < shared()->ndatabases; i++)
	{
		if (shared()->databases[i].dboid == MyDatabaseId)
			known = shared()->databases[i].known;
	}
	LWLockRelease(&shared()->lock);
	return known;
}

/*
 * Returns true if the frontier covers the deletes of all nodes but the writer through a timestamp.
 */
static bool
all_are_past(TimestampTz ts, NodeId writer, const Frontier *seen)
{
	for (int i = 0; i < seen->n; i++)
	{
		if (seen->entries[i].node != writer && seen->entries[i].ts < ts)
			return false;
	}
	return true;
}

bool
newest_delete_all_seen(Oid relid, Version put, const Frontier *seen)
{
	int			i;
	NodeId		me;
	Bucket		b;

	if (!shared() || !is_known())
		return false;
	i = bucket_of(relid);
	SpinLockAcquire(&shared()->buckets[i].mutex);
	b = shared()->buckets[i];
	SpinLockRelease(&shared()->buckets[i].mutex);
	if (b.writing > (bms_is_member(i, writing) ? 1 : 0))
		return false;
	if (b.n == 0)
		return true;
	if (b.rest != PG_INT64_MIN && (b.rest >= put.ts || !all_are_past(b.rest, put.node, seen)))
		return false;
	me = nodes_local_id();
	for (int k = 0; k < b.n; k++)
	{
		NodeId		node = b.newest[k].node == ORIGIN_NODE_LOCAL ? me : b.newest[k].node;

		/* a tombstone that is of no node has the oldest version */
		if (node <= 0 || node == put.node)
			continue;
		if (b.newest[k].ts >= put.ts || b.newest[k].ts > frontier_ts(seen, node))
			return false;
	}
	return true;
}

/* ---------- reading the existing tombstones ---------- */

bool
newest_delete_look_begin(uint64 *look)
{
	Database   *d;
	bool		wanted;

	if (!shared())
		return false;
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	d = newest_delete_database();
	wanted = d && !d->known;
	*look = d ? d->prepared : 0;
	LWLockRelease(&shared()->lock);
	return wanted;
}

void
newest_delete_look_note(Oid relid, Version version)
{
	Bucket	   *b = &shared()->buckets[bucket_of(relid)];

	if (version.node <= 0)
		return;
	SpinLockAcquire(&b->mutex);
	raise_bucket(b, (Newest) {version.node, version.ts});
	SpinLockRelease(&b->mutex);
}

void
newest_delete_look_end(uint64 look)
{
	Database   *d;

	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	d = newest_delete_database();
	if (d && d->prepared == look)
		d->known = true;
	LWLockRelease(&shared()->lock);
}
