/*
 * seen.c
 *		The seen vector: up to which timestamp this node has surely applied every node's writes.
 *
 * It is kept in shared memory, as every write to a mergeable table reads it. It is raised while a
 * frontier row is being applied, before that commits. The new value is true by then, since
 * everything that the row's member committed before is applied and visible here.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "base/session.h"
#include "base/shmem.h"
#include "catalog/names.h"
#include "shared/areas.h"
#include "shared/seen.h"

#define MAX_SEEN		1024	/* members of the groups of all databases of this server */
#define MAX_DATABASES	256

static const char frontier_rows_sql[] =
	"SELECT node_id, vector FROM " EXTENSION_SCHEMA "." TABLE_FRONTIER;

typedef struct SeenEntry
{
	Oid			dboid;
	NodeId		node;
	TimestampTz through;
} SeenEntry;

typedef struct Seen
{
	LWLock		lock;			/* of all fields below but the counter */
	pg_atomic_uint64 generation;	/* changes after each change of the entries */
	int			n;
	int			nloaded;
	Oid			loaded[MAX_DATABASES];
	SeenEntry	entries[MAX_SEEN];
} Seen;

/* Returns the area; NULL if this server has no shared memory. */
static inline Seen *
shared(void)
{
	return shmem_address(AREA_SEEN);
}

StaticAssertDecl(offsetof(Seen, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return MAXALIGN(sizeof(Seen));
}

static void
area_init(void *address)
{
	Seen	   *area = address;

	pg_atomic_init_u64(&area->generation, 1);
}

const ShmemArea seen_area = {
	.name = "replication_plugin seen",
	.tranche = "replication_plugin_seen",
	.size = area_size,
	.init = area_init,
};

/*
 * Returns the entry of a member of this database's group, made if there is none; NULL if the table
 * is full. The lock is held.
 */
static SeenEntry *
seen_entry_of(NodeId member)
{
	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < shared()->n; i++)
	{
		if (shared()->entries[i].dboid == MyDatabaseId && shared()->entries[i].node == member)
			return &shared()->entries[i];
	}
	if (shared()->n == MAX_SEEN)
		return NULL;			/* unknown writes are only described at greater length */
	shared()->entries[shared()->n] = (SeenEntry) {MyDatabaseId, member, PG_INT64_MIN};
	return &shared()->entries[shared()->n++];
}

void
seen_note_row(NodeId member, const char *vector)
{
	Frontier   *f = frontier_from_text(vector);
	SeenEntry  *e;
	TimestampTz through;
	bool		raised = false;

	if (!f)
		return;
	shmem_require();
	through = frontier_ts(f, member);
	frontier_free(f);
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	e = seen_entry_of(member);
	if (e && e->through < through)
	{
		e->through = through;
		raised = true;
	}
	LWLockRelease(&shared()->lock);
	if (raised)
		pg_atomic_fetch_add_u64(&shared()->generation, 1);
}

/*
 * Returns true if the frontier rows of this database have been read since the server was started.
 */
static bool
seen_is_loaded(void)
{
	bool		loaded = false;

	LWLockAcquire(&shared()->lock, LW_SHARED);
	for (int i = 0; i < shared()->nloaded && !loaded; i++)
		loaded = shared()->loaded[i] == MyDatabaseId;
	LWLockRelease(&shared()->lock);
	return loaded;
}

/* Reads all frontier rows of this database into the seen vector. */
static void
seen_load(void)
{
	int			user_security;
	Oid			user;
	int			nest;

	/* any role that writes can get here, and the table is the extension's own */
	GetUserIdAndSecContext(&user, &user_security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, user_security | SECURITY_LOCAL_USERID_CHANGE);
	nest = session_sql_begin();
	if (SPI_execute(frontier_rows_sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the frontier rows");
	for (uint64 i = 0; i < SPI_processed; i++)
		seen_note_row(atoi(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1)),
					  SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2));
	session_sql_end(nest);
	SetUserIdAndSecContext(user, user_security);
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (shared()->nloaded < MAX_DATABASES)
		shared()->loaded[shared()->nloaded++] = MyDatabaseId;
	LWLockRelease(&shared()->lock);
}

Frontier *
seen_through(void)
{
	Frontier   *f = frontier_create();

	if (!shared())
		return f;				/* rows are only read then, for which this will do */
	if (!seen_is_loaded())
		seen_load();
	LWLockAcquire(&shared()->lock, LW_SHARED);
	for (int i = 0; i < shared()->n; i++)
	{
		SeenEntry  *e = &shared()->entries[i];

		if (e->dboid == MyDatabaseId && e->through != PG_INT64_MIN)
			frontier_raise(f, e->node, InvalidXLogRecPtr, e->through);
	}
	LWLockRelease(&shared()->lock);
	return f;
}

void
seen_forget(void)
{
	int			kept = 0;

	if (!shared())
		return;
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared()->n; i++)
	{
		if (shared()->entries[i].dboid != MyDatabaseId)
			shared()->entries[kept++] = shared()->entries[i];
	}
	shared()->n = kept;
	LWLockRelease(&shared()->lock);
	pg_atomic_fetch_add_u64(&shared()->generation, 1);
}

uint64
seen_generation(void)
{
	return shared() ? pg_atomic_read_u64(&shared()->generation) : 0;
}
