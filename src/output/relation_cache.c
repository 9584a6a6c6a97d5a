/*
 * relation_cache.c
 *		Caches the data of an output format about a relation until the relation changes.
 *
 * PostgreSQL's own invalidations report changes. The decoder replays those of the decoded
 * transactions, so an entry always matches the historic snapshot. exclude_table() and
 * include_table() invalidate the relation themselves. Invariants: an invalidation only clears
 * CachedRelation.valid. Memory is freed when the entry is rebuilt, never while it is in use.
 * Entries are never removed from the hash table.
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "output/relation_cache.h"

static RelationCache *live_caches = NULL;

void
relation_cache_table_changed(Oid relid)
{
	for (RelationCache *cache = live_caches; cache != NULL; cache = cache->next)
	{
		HASH_SEQ_STATUS scan;
		CachedRelation *entry;

		if (OidIsValid(relid))
		{
			entry = hash_search(cache->entries, &relid, HASH_FIND, NULL);
			if (entry)
				entry->valid = false;
			continue;
		}
		hash_seq_init(&scan, cache->entries);
		while ((entry = hash_seq_search(&scan)) != NULL)
			entry->valid = false;
	}
}

/* Returns true if an entry contains a name with this hash value (0: any). */
static bool
relation_cache_depends_on(const CachedRelation *entry, uint32 hashvalue)
{
	if (hashvalue == 0)
		return true;
	for (int i = 0; i < entry->nnames; i++)
	{
		if (entry->names[i] == hashvalue)
			return true;
	}
	return false;
}

void
relation_cache_name_changed(uint32 hash)
{
	for (RelationCache *cache = live_caches; cache != NULL; cache = cache->next)
	{
		HASH_SEQ_STATUS scan;
		CachedRelation *entry;

		hash_seq_init(&scan, cache->entries);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			if (entry->valid && relation_cache_depends_on(entry, hash))
				entry->valid = false;
		}
	}
}

/* Removes a cache, whose memory is about to be freed, from the list for the callbacks. */
static void
forget_cache(void *arg)
{
	RelationCache **link = &live_caches;

	while (*link != NULL && *link != arg)
		link = &(*link)->next;
	Assert(*link == arg);		/* each cache is in the list until its memory is freed */
	if (*link != NULL)
		*link = (*link)->next;
}

RelationCache *
relation_cache_create(MemoryContext context)
{
	RelationCache *cache = MemoryContextAllocZero(context, sizeof(RelationCache));
	MemoryContextCallback *on_reset =
		MemoryContextAllocZero(context, sizeof(MemoryContextCallback));
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CachedRelation);
	ctl.hcxt = context;
	cache->context = context;
	cache->entries = hash_create("replication_plugin relation cache", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache->next = live_caches;
	live_caches = cache;
	on_reset->func = forget_cache;
	on_reset->arg = cache;
	MemoryContextRegisterResetCallback(context, on_reset);
	return cache;
}

CachedRelation *
relation_cache_search(RelationCache *cache, Oid relid)
{
	bool		found;
	CachedRelation *entry = hash_search(cache->entries, &relid, HASH_ENTER, &found);

	if (!found)
	{
		memset(entry, 0, sizeof(*entry));
		entry->relid = relid;
		entry->context = AllocSetContextCreate(cache->context, "cached relation",
											   ALLOCSET_SMALL_SIZES);
	}
	cache->last = entry;
	return entry;
}

MemoryContext
relation_cache_begin_build(CachedRelation *entry)
{
	MemoryContextReset(entry->context);
	entry->nnames = 0;
	entry->names = NULL;
	entry->data = NULL;
	entry->builds++;
	entry->valid = true;
	return entry->context;
}

/* Adds a hash value to those on which the entry depends. */
static void
add_name(CachedRelation *entry, uint32 hashvalue)
{
	if (entry->nnames > 0 && relation_cache_depends_on(entry, hashvalue))
		return;
	/* few per relation: the array grows in powers of two */
	if (entry->names == NULL)
		entry->names = MemoryContextAlloc(entry->context, 4 * sizeof(uint32));
	else if (entry->nnames >= 4 && (entry->nnames & (entry->nnames - 1)) == 0)
		entry->names = repalloc(entry->names, 2 * entry->nnames * sizeof(uint32));
	entry->names[entry->nnames++] = hashvalue;
}

void
relation_cache_depends_on_schema(CachedRelation *entry, Oid nspoid)
{
	add_name(entry, GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(nspoid)));
}

void
relation_cache_depends_on_type(CachedRelation *entry, Oid typid)
{
	if (typid >= FirstNormalObjectId)
		add_name(entry, GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(typid)));
}
