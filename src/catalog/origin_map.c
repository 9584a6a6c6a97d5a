/*
 * origin_map.c
 *		Which replication origin is which node, in shared memory.
 *
 * The output plugin must tell origins apart at every WAL record, where catalogs cannot
 * be read. So the map is kept in shared memory: filled from pg_replication_origin by
 * whoever needs it first after a server start, and extended by whoever creates an
 * origin, before anything is written under it. Entries only go when their database
 * leaves its group.
 *
 * Each process keeps a copy of its database's entries, renewed when the generation
 * counter has moved: a look-up costs one read of shared memory. The lock protects all
 * of the shared struct but the counter, which is atomic and moves after a change.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/fault_point.h"
#include "catalog/pg_replication_origin.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"

#include "catalog/names.h"
#include "catalog/origin_map.h"

#define MAX_ORIGINS		1024	/* per server; PostgreSQL tracks max_replication_slots of them */
#define MAX_DATABASES	256		/* databases whose origins have been read */

typedef struct OriginEntry
{
	Oid			dboid;
	RepOriginId origin;
	NodeId		node;
} OriginEntry;

typedef struct OriginMap
{
	LWLock		lock;
	pg_atomic_uint64 generation;
	int			n;
	int			nloaded;
	Oid			loaded[MAX_DATABASES];
	OriginEntry entries[MAX_ORIGINS];
} OriginMap;

static OriginMap *map = NULL;

/* This process's copy, for its own database. */
static OriginEntry *copy = NULL;
static int	ncopy = 0;
static uint64 copy_generation = 0;

Size
origin_map_shmem_size(void)
{
	return MAXALIGN(sizeof(OriginMap));
}

void
origin_map_shmem_init(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	map = ShmemInitStruct("replication_plugin origins", origin_map_shmem_size(), &found);
	if (!found)
	{
		memset(map, 0, sizeof(*map));
		LWLockInitialize(&map->lock, LWLockNewTrancheId());
		pg_atomic_init_u64(&map->generation, 1);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(map->lock.tranche, "replication_plugin_origins");
}

/* Adds an entry if it is not there. The lock is held. */
static void
add_entry(RepOriginId origin, NodeId node)
{
	for (int i = 0; i < map->n; i++)
	{
		OriginEntry *e = &map->entries[i];

		if (e->dboid == MyDatabaseId && e->node == node && (e->origin == origin || node > 0))
		{
			e->origin = origin;
			return;
		}
	}
	if (map->n == MAX_ORIGINS)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("more than %d origins on this server", MAX_ORIGINS)));
	map->entries[map->n++] = (OriginEntry) {MyDatabaseId, origin, node};
}

/* Node of an origin's name if it is one of this database's, else ORIGIN_NODE_LOCAL. */
static NodeId
node_of_name(const char *name)
{
	char	   *prefix = psprintf("replication_plugin_%u_", MyDatabaseId);
	int			len = strlen(prefix);

	if (strncmp(name, prefix, len) != 0)
		return ORIGIN_NODE_LOCAL;
	if (strncmp(name + len, "repair", 6) == 0)
		return name[len + 6] ? ORIGIN_NODE_COPY : ORIGIN_NODE_REPAIR;
	if (strcmp(name + len, "clock") == 0)
		return ORIGIN_NODE_CLOCK;
	return atoi(name + len);
}

/* True if this database's origins have been read. The lock is held. */
static bool
is_loaded(void)
{
	for (int i = 0; i < map->nloaded; i++)
	{
		if (map->loaded[i] == MyDatabaseId)
			return true;
	}
	return false;
}

/* Reads pg_replication_origin into the map. The lock is held. */
static void
load(void)
{
	Relation	rel = table_open(ReplicationOriginRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_replication_origin form = (Form_pg_replication_origin) GETSTRUCT(tuple);
		NodeId		node = node_of_name(text_to_cstring(&form->roname));

		if (node != ORIGIN_NODE_LOCAL)
			add_entry(form->roident, node);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (map->nloaded == MAX_DATABASES)
		elog(ERROR, "origins of too many databases are in use");
	map->loaded[map->nloaded++] = MyDatabaseId;
	pg_atomic_fetch_add_u64(&map->generation, 1);
}

void
origin_map_ensure_loaded(void)
{
	bool		own_transaction = !IsTransactionState();
	bool		loaded;

	if (!map)
		return;
	LWLockAcquire(&map->lock, LW_SHARED);
	loaded = is_loaded();
	LWLockRelease(&map->lock);
	if (loaded)
		return;
	if (own_transaction)
		StartTransactionCommand();
	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	if (!is_loaded())
		load();
	LWLockRelease(&map->lock);
	if (own_transaction)
		CommitTransactionCommand();
}

/* Renews this process's copy if the map has changed. */
static void
refresh_copy(void)
{
	uint64		generation = pg_atomic_read_u64(&map->generation);

	if (generation == copy_generation)
		return;
	LWLockAcquire(&map->lock, LW_SHARED);
	copy_generation = pg_atomic_read_u64(&map->generation);
	free(copy);
	copy = malloc(Max(map->n, 1) * sizeof(OriginEntry));
	ncopy = 0;
	for (int i = 0; copy && i < map->n; i++)
	{
		if (map->entries[i].dboid == MyDatabaseId)
			copy[ncopy++] = map->entries[i];
	}
	LWLockRelease(&map->lock);
	if (!copy)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

NodeId
origin_map_node(RepOriginId origin)
{
	if (!map || origin == InvalidRepOriginId || origin == DoNotReplicateId)
		return ORIGIN_NODE_LOCAL;
	refresh_copy();
	for (int i = 0; i < ncopy; i++)
	{
		if (copy[i].origin == origin)
			return copy[i].node == ORIGIN_NODE_CLOCK ? ORIGIN_NODE_LOCAL :
				copy[i].node == ORIGIN_NODE_COPY ? ORIGIN_NODE_REPAIR : copy[i].node;
	}
	return ORIGIN_NODE_LOCAL;
}

RepOriginId
origin_map_origin(NodeId node)
{
	if (!map)
		return InvalidRepOriginId;
	refresh_copy();
	for (int i = 0; i < ncopy; i++)
	{
		if (copy[i].node == node)
			return copy[i].origin;
	}
	return InvalidRepOriginId;
}

void
origin_map_reload(void)
{
	Assert(IsTransactionState());
	if (!map)
		return;
	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	for (int i = 0; i < map->nloaded; i++)
	{
		if (map->loaded[i] == MyDatabaseId)
			map->loaded[i--] = map->loaded[--map->nloaded];
	}
	load();
	LWLockRelease(&map->lock);
}

RepOriginId
origin_map_create(NodeId node)
{
	RepOriginId origin;
	char	   *name;

	if (!map)
		elog(ERROR, "replication_plugin is not in shared_preload_libraries");
	origin_map_ensure_loaded();
	origin = origin_map_origin(node);
	if (origin != InvalidRepOriginId)
		return origin;
	name = node == ORIGIN_NODE_REPAIR ? repair_origin_name(MyDatabaseId) :
		node == ORIGIN_NODE_CLOCK ? clock_origin_name(MyDatabaseId) : origin_name(MyDatabaseId, node);
	origin = replorigin_by_name(name, true);
	if (origin == InvalidRepOriginId)
	{
		origin = replorigin_create(name);
		FAULT_POINT("origin_created");
	}
	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	add_entry(origin, node);
	pg_atomic_fetch_add_u64(&map->generation, 1);
	LWLockRelease(&map->lock);
	return origin;
}

void
origin_map_drop_all(void)
{
	if (!map)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication_plugin is not in shared_preload_libraries"),
				 errhint("Add it (shared_preload_libraries = 'replication_plugin') and restart the server.")));
	origin_map_ensure_loaded();
	refresh_copy();
	for (int i = 0; i < ncopy; i++)
	{
		char	   *name;

		if (replorigin_by_oid(copy[i].origin, true, &name))
			replorigin_drop_by_name(name, true, false);
	}
	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	for (int i = 0; i < map->n;)
	{
		if (map->entries[i].dboid == MyDatabaseId)
			map->entries[i] = map->entries[--map->n];
		else
			i++;
	}
	pg_atomic_fetch_add_u64(&map->generation, 1);
	LWLockRelease(&map->lock);
}

XLogRecPtr
origin_map_progress(NodeId node)
{
	RepOriginId origin = origin_map_origin(node);

	return origin == InvalidRepOriginId ? InvalidXLogRecPtr :
		replorigin_get_progress(origin, false);
}

XLogRecPtr
origin_map_progress_durable(NodeId node)
{
	RepOriginId origin = origin_map_origin(node);

	return origin == InvalidRepOriginId ? InvalidXLogRecPtr :
		replorigin_get_progress(origin, true);
}

int
origin_map_nodes(NodeId **nodes)
{
	int			n = 0;

	*nodes = NULL;
	if (!map)
		return 0;
	refresh_copy();
	*nodes = palloc(Max(ncopy, 1) * sizeof(NodeId));
	for (int i = 0; i < ncopy; i++)
	{
		if (copy[i].node > 0)
			(*nodes)[n++] = copy[i].node;
	}
	return n;
}
