/*
 * relation_cache.h
 *		Caches the data of an output format about a relation until the relation changes.
 */
#ifndef REPLICATION_PLUGIN_RELATION_CACHE_H
#define REPLICATION_PLUGIN_RELATION_CACHE_H

#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/palloc.h"

/* An entry. Its address does not change while the cache exists. */
typedef struct CachedRelation
{
	Oid			relid;			/* hash key */
	bool		valid;			/* cleared by invalidation */
	/* number of builds: identifies data that depends on an earlier one */
	uint64		builds;
	MemoryContext context;		/* of everything below; reset when the entry is rebuilt */
	int			nnames;
	uint32	   *names;			/* hash values of schemas and types whose names data contains */
	void	   *data;			/* of the format */
} CachedRelation;

typedef struct RelationCache
{
	HTAB	   *entries;
	/* the last entry requested, which bulk loads request again */
	CachedRelation *last;
	MemoryContext context;
	struct RelationCache *next; /* list of all caches of the process */
} RelationCache;

/* Creates a cache, which lives as long as context. */
extern RelationCache *relation_cache_create(MemoryContext context);

/* For relation_cache_get() only: its part that is not inlined. */
extern CachedRelation *relation_cache_search(RelationCache *cache, Oid relid);

/* Returns the entry of a relation, valid or not; a new entry is not valid. */
static inline CachedRelation *
relation_cache_get(RelationCache *cache, Oid relid)
{
	if (cache->last != NULL && cache->last->relid == relid)
		return cache->last;
	return relation_cache_search(cache, relid);
}

/*
 * Empties an entry, marks it as valid and returns its memory context, in which the caller then
 * builds the data. An invalidation that arrives meanwhile makes the entry invalid again, as it
 * must.
 */
extern MemoryContext relation_cache_begin_build(CachedRelation *entry);

/*
 * Record that the data of an entry depends on the name of this schema or type. ALTER ... RENAME
 * does not invalidate the relation.
 */
extern void relation_cache_depends_on_schema(CachedRelation *entry, Oid nspoid);
extern void relation_cache_depends_on_type(CachedRelation *entry, Oid typid);

/* Hook functions for changes of tables and names (replication_plugin.c). */
extern void relation_cache_table_changed(Oid relid);
extern void relation_cache_name_changed(uint32 hash);

#endif							/* REPLICATION_PLUGIN_RELATION_CACHE_H */
