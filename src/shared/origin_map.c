/*
 * origin_map.c
 *		The map from replication origins to nodes, in shared memory.
 *
 * The output plugin must tell origins apart at every WAL record, where catalogs cannot be read.
 * Therefore the map is kept in shared memory. The first process that needs it after a server start
 * fills it from pg_replication_origin. It is extended when an origin has been created, before
 * anything is written under that origin.
 *
 * Invariants: an entry is in the map only if its row in pg_replication_origin is committed; a
 * number belongs to one node as long as the database is in its group. So the origins that a
 * transaction makes or drops reach the map when the transaction has committed
 * (origin_map_at_end_of_transaction()). If it is rolled back, or its process dies, the map does
 * not change. If a process dies between the commit and the change of the map, the next process that
 * needs the origin finds it by name.
 *
 * PostgreSQL gives a new origin the lowest free number, and progress that was set under a number
 * outlives a rolled back creation. So origin_map_make() resets the progress of an origin that it
 * creates.
 *
 * The origin of a node that is out keeps its number, and gives up its place for progress
 * (catalog/former_origin.c). Its last progress is then in its name, and in the map.
 *
 * Each process keeps a copy of its database's entries, and renews it when the generation counter
 * has moved: a look-up costs one read of shared memory. The lock protects the whole shared struct
 * except the counter, which is atomic and moves after a change. Catalogs are read without the lock.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_replication_origin.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/fault_point.h"
#include "base/number_text.h"
#include "base/own_transaction.h"
#include "base/shmem.h"
#include "catalog/former_origin.h"
#include "catalog/names.h"
#include "shared/areas.h"
#include "shared/origin_map.h"

#define MAX_ORIGINS		4096	/* per server */
#define MAX_DATABASES	256		/* databases whose origins have been read */

typedef struct OriginEntry
{
	Oid			dboid;
	RepOriginId origin;
	NodeId		node;
	/*
	 * progress at the time when the place for it was given up, or might have been taken; else
	 * InvalidXLogRecPtr
	 */
	XLogRecPtr	former;
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

/* Returns the area; NULL if this server has no shared memory. */
static inline OriginMap *
map(void)
{
	return shmem_address(AREA_ORIGIN_MAP);
}

/* This process's copy of the entries of its database. */
typedef struct OriginCopy
{
	uint64		generation;		/* 0: there is no copy */
	bool		loaded;			/* the map has all origins of the database */
	bool		secured;		/* origin_map_secure_progress() has looked at all entries */
	int			n;
	int			numbers;		/* length of nodes */
	NodeId	   *nodes;			/* by origin number */
	OriginEntry *entries;
} OriginCopy;

static OriginCopy copy;

/*
 * A change of the map that takes place when the transaction commits. Changes are made in the order
 * of the list, which is in TopTransactionContext.
 */
typedef struct Pending
{
	bool		forget_all;		/* if false, the entry is added */
	OriginEntry entry;
	SubTransactionId subid;
} Pending;

static List *pending = NIL;

StaticAssertDecl(offsetof(OriginMap, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return MAXALIGN(sizeof(OriginMap));
}

static void
area_init(void *address)
{
	OriginMap  *area = address;

	pg_atomic_init_u64(&area->generation, 1);
}

const ShmemArea origin_map_area = {
	.name = "replication_plugin origins",
	.tranche = "replication_plugin_origins",
	.size = area_size,
	.init = area_init,
};

/* ---------- the shared map ---------- */

/*
 * Adds an entry, unless it is there already. Returns false if there is no room. The lock is held.
 */
static bool
add_entry(const OriginEntry *entry)
{
	Assert(LWLockHeldByMeInMode(&map()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < map()->n; i++)
	{
		OriginEntry *e = &map()->entries[i];

		if (e->dboid == entry->dboid && e->node == entry->node &&
			(e->origin == entry->origin || e->node > 0))
		{
			e->origin = entry->origin;
			e->former = Max(e->former, entry->former);
			return true;
		}
	}
	if (map()->n == MAX_ORIGINS)
		return false;
	map()->entries[map()->n++] = *entry;
	return true;
}

/* Removes all entries of this database from the map. The lock is held. */
static void
forget_entries(void)
{
	int			kept = 0;

	Assert(LWLockHeldByMeInMode(&map()->lock, LW_EXCLUSIVE));
	for (int i = 0; i < map()->n; i++)
	{
		if (map()->entries[i].dboid != MyDatabaseId)
			map()->entries[kept++] = map()->entries[i];
	}
	map()->n = kept;
	for (int i = 0; i < map()->nloaded; i++)
	{
		if (map()->loaded[i] == MyDatabaseId)
			map()->loaded[i--] = map()->loaded[--map()->nloaded];
	}
}

/* Returns true if this database's origins have been read. The lock is held. */
static bool
origin_map_is_loaded(void)
{
	Assert(LWLockHeldByMe(&map()->lock));
	for (int i = 0; i < map()->nloaded; i++)
	{
		if (map()->loaded[i] == MyDatabaseId)
			return true;
	}
	return false;
}

/* Raises the error that the map is full. */
static void
no_room(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("more than %d replication origins of groups on this server", MAX_ORIGINS),
			 errhint("Take databases out of their groups that need not be in one.")));
}

/* Raises an error if the map has no room for one more entry. */
static void
require_room(void)
{
	bool		full;

	LWLockAcquire(&map()->lock, LW_SHARED);
	full = map()->n + list_length(pending) >= MAX_ORIGINS;
	LWLockRelease(&map()->lock);
	if (full)
		no_room();
}

/* ---------- changes, at commit ---------- */

/* Makes the changes of a committed transaction in the map. Nothing here can fail. */
static void
origin_map_publish(void)
{
	ListCell   *lc;

	LWLockAcquire(&map()->lock, LW_EXCLUSIVE);
	foreach(lc, pending)
	{
		Pending    *p = lfirst(lc);

		if (p->forget_all)
			forget_entries();
		else
			(void) add_entry(&p->entry);
	}
	LWLockRelease(&map()->lock);
	pg_atomic_fetch_add_u64(&map()->generation, 1);
}

static void
origin_map_at_end_of_transaction(XactEvent event, void *arg)
{
	if (pending == NIL)
		return;
	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has made or dropped replication origins of the group")));
	if (event == XACT_EVENT_COMMIT)
		origin_map_publish();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		pending = NIL;
}

/* Discards the changes of a subtransaction that was rolled back, and of those inside it. */
static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent,
						 void *arg)
{
	if (pending == NIL || event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (pending != NIL && ((Pending *) llast(pending))->subid >= subid)
		pending = list_delete_last(pending);
}

/* Notes a change that the map gets when the transaction commits. */
static void
change_at_commit(bool forget_all, RepOriginId origin, NodeId node, XLogRecPtr former)
{
	MemoryContext old;
	Pending    *p;

	Assert(IsTransactionState());
	if (!forget_all)
		require_room();
	old = MemoryContextSwitchTo(TopTransactionContext);
	p = palloc(sizeof(Pending));
	*p = (Pending) {forget_all, {MyDatabaseId, origin, node, former}, GetCurrentSubTransactionId()};
	pending = lappend(pending, p);
	MemoryContextSwitchTo(old);
}

/* ---------- reading the catalog ---------- */

/*
 * Returns the node whose origin in this database has the name; ORIGIN_NODE_LOCAL if the name is not
 * of such an origin. *former receives the progress that is in the name of a former origin.
 */
static NodeId
node_of_name(const char *name, XLogRecPtr *former)
{
	char	   *prefix = psprintf("replication_plugin_%u_", MyDatabaseId);
	int			len = strlen(prefix);
	NodeId		node;

	*former = InvalidXLogRecPtr;
	if (strncmp(name, prefix, len) != 0)
		return ORIGIN_NODE_LOCAL;
	if (strncmp(name + len, "repair", 6) == 0)
		return name[len + 6] ? ORIGIN_NODE_COPY : ORIGIN_NODE_REPAIR;
	if (strcmp(name + len, "clock") == 0)
		return ORIGIN_NODE_CLOCK;
	name += len;
	return number_read_node(&name, &node) && (*name == '\0' || former_origin_read(name, former))
			   ? node
			   : ORIGIN_NODE_LOCAL;
}

/*
 * Reads this database's committed origins. Those that the current transaction has made are noted
 * for its commit instead.
 */
static List *
read_origins(void)
{
	Relation	rel = table_open(ReplicationOriginRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *found = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_replication_origin form = (Form_pg_replication_origin) GETSTRUCT(tuple);
		XLogRecPtr	former;
		NodeId		node = node_of_name(text_to_cstring(&form->roname), &former);
		OriginEntry *e;

		if (node == ORIGIN_NODE_LOCAL)
			continue;
		if (map() && TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)))
		{
			change_at_commit(false, form->roident, node, former);
			continue;
		}
		e = palloc(sizeof(OriginEntry));
		*e = (OriginEntry) {MyDatabaseId, form->roident, node, former};
		found = lappend(found, e);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Takes origins into the map. Returns false if the map has changed since the generation at which
 * they were read. Raises an error if the map is full.
 */
static bool
origin_map_merge(List *found, uint64 generation)
{
	ListCell   *lc;
	bool		room = true;

	LWLockAcquire(&map()->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&map()->generation) != generation)
	{
		LWLockRelease(&map()->lock);
		return false;
	}
	foreach(lc, found)
		room = room && add_entry(lfirst(lc));
	/* a database without a place here still works, but its origins are read each time */
	if (room && !origin_map_is_loaded() && map()->nloaded < MAX_DATABASES)
		map()->loaded[map()->nloaded++] = MyDatabaseId;
	pg_atomic_fetch_add_u64(&map()->generation, 1);
	LWLockRelease(&map()->lock);
	if (!room)
		no_room();
	return true;
}

/* Reads the catalog into the map, until no change of the map intervenes. */
static void
origin_map_load(void)
{
	List	   *found;
	uint64		generation;

	do
	{
		CHECK_FOR_INTERRUPTS();
		generation = pg_atomic_read_u64(&map()->generation);
		pg_memory_barrier();
		found = read_origins();
	} while (!origin_map_merge(found, generation));
}

void
origin_map_reload(void)
{
	Assert(IsTransactionState());
	if (map())
		origin_map_load();
}

/* ---------- this process's copy ---------- */

/* Copies this database's part of some entries. Returns false if out of memory. */
static bool
fill_copy(OriginCopy *c, const OriginEntry *entries, int n)
{
	int			last = 0;

	Assert(c->n == 0);
	for (int i = 0; i < n; i++)
	{
		if (entries[i].dboid == MyDatabaseId)
			last = Max(last, entries[i].origin);
	}
	c->numbers = last + 1;
	c->entries = malloc(Max(n, 1) * sizeof(OriginEntry));
	c->nodes = calloc(c->numbers, sizeof(NodeId));
	if (!c->entries || !c->nodes)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (entries[i].dboid != MyDatabaseId)
			continue;
		c->entries[c->n++] = entries[i];
		c->nodes[entries[i].origin] = entries[i].node;
	}
	return true;
}

/*
 * Replaces the present copy by a new one. If that could not be filled, keeps the present one and
 * raises an error.
 */
static void
set_copy(OriginCopy *fresh, bool filled)
{
	OriginCopy	old = filled ? copy : *fresh;

	if (filled)
		copy = *fresh;
	free(old.entries);
	free(old.nodes);
	if (!filled)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

/*
 * Renews this process's copy if the map has changed. A copy that could not be renewed stays
 * outdated, so that each call raises the error.
 */
static void
refresh_copy(void)
{
	OriginCopy	fresh = {0};
	bool		filled;

	if (!map() || pg_atomic_read_u64(&map()->generation) == copy.generation)
		return;
	LWLockAcquire(&map()->lock, LW_SHARED);
	fresh.generation = pg_atomic_read_u64(&map()->generation);
	fresh.loaded = origin_map_is_loaded();
	filled = fill_copy(&fresh, map()->entries, map()->n);
	LWLockRelease(&map()->lock);
	set_copy(&fresh, filled);
}

/* Syscache callback, without shared memory: an origin was created or dropped. */
static void
origins_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	copy.loaded = false;
}

/*
 * Reads the catalog into this process's copy. Used without shared memory, where no process makes
 * origins but rows are still read.
 */
static void
load_privately(void)
{
	List	   *found;
	OriginEntry *entries;
	OriginCopy	fresh = {.generation = copy.generation + 1,.loaded = true};
	int			n = 0;
	ListCell   *lc;

	found = read_origins();
	entries = palloc(Max(list_length(found), 1) * sizeof(OriginEntry));
	foreach(lc, found)
		entries[n++] = *(OriginEntry *) lfirst(lc);
	set_copy(&fresh, fill_copy(&fresh, entries, n));
	pfree(entries);
}

void
origin_map_ensure_loaded(void)
{
	OwnTransaction t;

	if (!OidIsValid(MyDatabaseId))
		return;
	refresh_copy();
	if (copy.loaded)
		return;
	t = own_transaction_ensure();
	if (map())
		origin_map_load();
	else
		load_privately();
	own_transaction_end(&t);
}

uint64
origin_map_generation(void)
{
	return map() ? pg_atomic_read_u64(&map()->generation) : copy.generation;
}

NodeId
origin_map_node(RepOriginId origin)
{
	NodeId		node;

	if (origin == InvalidRepOriginId || origin == DoNotReplicateId)
		return ORIGIN_NODE_LOCAL;
	refresh_copy();
	node = origin < copy.numbers ? copy.nodes[origin] : ORIGIN_NODE_LOCAL;
	return node == ORIGIN_NODE_CLOCK  ? ORIGIN_NODE_LOCAL
		   : node == ORIGIN_NODE_COPY ? ORIGIN_NODE_REPAIR
									  : node;
}

RepOriginId
origin_map_origin(NodeId node)
{
	refresh_copy();
	for (int i = 0; i < copy.n; i++)
	{
		if (copy.entries[i].node == node)
			return copy.entries[i].origin;
	}
	return InvalidRepOriginId;
}

/* ---------- making and dropping ---------- */

/*
 * Creates an origin. Its number may have the progress of an origin whose creation was rolled back
 * after the progress had moved, so the progress is reset.
 */
static RepOriginId
origin_map_make(const char *name)
{
	RepOriginId origin = replorigin_create(name);

	if (replorigin_get_progress(origin, false) != InvalidXLogRecPtr)
		replorigin_advance(origin, InvalidXLogRecPtr, InvalidXLogRecPtr, true, true);
	FAULT_POINT("origin_created");
	return origin;
}

RepOriginId
origin_map_create(NodeId node)
{
	RepOriginId origin;
	char	   *name;

	shmem_require();
	origin_map_ensure_loaded();
	origin = origin_map_origin(node);
	if (origin != InvalidRepOriginId)
		return origin;
	name = node == ORIGIN_NODE_REPAIR  ? repair_origin_name(MyDatabaseId)
		   : node == ORIGIN_NODE_CLOCK ? clock_origin_name(MyDatabaseId)
									   : origin_name(MyDatabaseId, node);
	origin = replorigin_by_name(name, true);
	if (origin == InvalidRepOriginId)
		origin = origin_map_make(name);
	change_at_commit(false, origin, node, InvalidXLogRecPtr);
	return origin;
}

void
origin_map_create_former(NodeId node, XLogRecPtr progress)
{
	shmem_require();
	origin_map_ensure_loaded();
	if (origin_map_origin(node) == InvalidRepOriginId)
		change_at_commit(false,
						 origin_map_make(
							 former_origin_name(origin_name(MyDatabaseId, node), progress)),
						 node, progress);
}

/*
 * Performs one transaction of its own: gives an origin the name with its progress (rename), or
 * gives up its place for progress. origin_map_retire() does both, one after the other.
 */
static void
origin_map_retire_entry(RepOriginId origin, NodeId node, XLogRecPtr progress, bool rename)
{
	OwnTransaction t = own_transaction_begin();
	char	   *name;

	name = former_origin_name(origin_name(MyDatabaseId, node), progress);
	if (rename)
		former_origin_rename(origin, name);
	else
		former_origin_free(origin, name);
	change_at_commit(false, origin, node, progress);
	own_transaction_end(&t);
	XLogFlush(XactLastCommitEnd);
}

void
origin_map_retire(NodeId node)
{
	RepOriginId origin = origin_map_origin(node);
	XLogRecPtr	progress = origin_map_progress_durable(node);

	Assert(!IsTransactionState());
	origin_map_retire_entry(origin, node, progress, true);
	FAULT_POINT("origin_renamed");
	origin_map_retire_entry(origin, node, progress, false);
}

bool
origin_map_has_place(NodeId node)
{
	RepOriginId origin = origin_map_origin(node);

	return origin != InvalidRepOriginId &&
		   replorigin_get_progress(origin, false) != InvalidXLogRecPtr;
}

void
origin_map_drop_all(void)
{
	shmem_require();
	origin_map_ensure_loaded();
	refresh_copy();
	for (int i = 0; i < copy.n; i++)
	{
		char	   *name;
		XLogRecPtr	former;

		if (replorigin_by_oid(copy.entries[i].origin, true, &name) &&
			node_of_name(name, &former) == copy.entries[i].node)
			replorigin_drop_by_name(name, true, false);
	}
	change_at_commit(true, InvalidRepOriginId, INVALID_NODE_ID, InvalidXLogRecPtr);
}

/* Returns how far a node's transactions are applied. durable: flushes the WAL that proves it. */
static XLogRecPtr
progress_of(NodeId node, bool durable)
{
	refresh_copy();
	for (int i = 0; i < copy.n; i++)
	{
		if (copy.entries[i].node == node)
			return Max(copy.entries[i].former,
					   replorigin_get_progress(copy.entries[i].origin, durable));
	}
	return InvalidXLogRecPtr;
}

XLogRecPtr
origin_map_progress(NodeId node)
{
	return progress_of(node, false);
}

XLogRecPtr
origin_map_progress_durable(NodeId node)
{
	return progress_of(node, true);
}

int
origin_map_nodes(NodeId **nodes)
{
	int			n = 0;

	refresh_copy();
	*nodes = palloc(Max(copy.n, 1) * sizeof(NodeId));
	for (int i = 0; i < copy.n; i++)
	{
		if (copy.entries[i].node > 0)
			(*nodes)[n++] = copy.entries[i].node;
	}
	return n;
}

/* ---------- progress that a session may remove ---------- */

/* Returns the entries of all databases in *places, palloc'd, and their number. */
static int
all_places(OriginPlace **places)
{
	int			n;

	*places = palloc(MAX_ORIGINS * sizeof(OriginPlace));
	LWLockAcquire(&map()->lock, LW_SHARED);
	n = map()->n;
	for (int i = 0; i < n; i++)
	{
		OriginEntry *e = &map()->entries[i];

		(*places)[i] = (OriginPlace) {e->dboid, e->origin, e->node, e->former};
	}
	LWLockRelease(&map()->lock);
	return n;
}

/* Returns the entry of a place; NULL if there is none. The lock is held. */
static OriginEntry *
origin_map_entry_of(const OriginPlace *place)
{
	Assert(LWLockHeldByMe(&map()->lock));
	for (int i = 0; i < map()->n; i++)
	{
		OriginEntry *e = &map()->entries[i];

		if (e->dboid == place->dboid && e->origin == place->origin && e->node == place->node)
			return e;
	}
	return NULL;
}

int
origin_map_keep_progress(OriginPlace **places)
{
	int			n;

	*places = NULL;
	if (!map())
		return 0;
	n = all_places(places);
	for (int i = 0; i < n; i++)
	{
		OriginPlace *p = &(*places)[i];

		if (p->node > 0)
			p->progress = Max(p->progress, replorigin_get_progress(p->origin, true));
	}
	LWLockAcquire(&map()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		OriginEntry *e = origin_map_entry_of(&(*places)[i]);

		if (e)
			e->former = Max(e->former, (*places)[i].progress);
	}
	LWLockRelease(&map()->lock);
	pg_atomic_fetch_add_u64(&map()->generation, 1);
	return n;
}

bool
origin_map_keeps(const OriginPlace *place)
{
	bool		found;
	ListCell   *lc;

	foreach(lc, pending)
	{
		Pending    *p = lfirst(lc);

		if (p->forget_all && p->entry.dboid == place->dboid)
			return false;
	}
	LWLockAcquire(&map()->lock, LW_SHARED);
	found = origin_map_entry_of(place) != NULL;
	LWLockRelease(&map()->lock);
	return found;
}

/*
 * Returns true if the progress in an origin's name is as far as that in the map, or the origin is
 * no longer one of the node.
 */
static bool
name_has_progress(const OriginEntry *e)
{
	char	   *name;
	XLogRecPtr	former;

	return !replorigin_by_oid(e->origin, true, &name) || node_of_name(name, &former) != e->node ||
		   former >= e->former;
}

void
origin_map_secure_progress(void)
{
	refresh_copy();
	if (copy.secured)
		return;
	for (int i = 0; i < copy.n; i++)
	{
		OriginEntry e = copy.entries[i];
		OwnTransaction t;
		bool		secure;

		if (e.node <= 0 || e.former == InvalidXLogRecPtr ||
			replorigin_get_progress(e.origin, false) >= e.former)
			continue;
		t = own_transaction_begin();
		secure = name_has_progress(&e);
		own_transaction_end(&t);
		if (!secure)
			origin_map_retire_entry(e.origin, e.node, e.former, true);
	}
	copy.secured = true;
}

void
origin_map_install(bool preloaded)
{
	RegisterXactCallback(origin_map_at_end_of_transaction, NULL);
	RegisterSubXactCallback(at_end_of_subtransaction, NULL);
	if (!preloaded)
		CacheRegisterSyscacheCallback(REPLORIGIDENT, origins_changed, (Datum) 0);
}
