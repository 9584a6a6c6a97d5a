/*
 * relation_cache.h
 *		What an output format knows of a relation, kept until the relation changes.
 */
#ifndef REPLICATION_PLUGIN_RELATION_CACHE_H
#define REPLICATION_PLUGIN_RELATION_CACHE_H

#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/palloc.h"

/* An entry; its address never changes while the cache lives. */
typedef struct CachedRelation
{
	Oid			relid;			/* hash key */
	bool		valid;			/* cleared by invalidation */
	uint64		builds;			/* how often it was built: tells who depends on an earlier one */
	MemoryContext context;		/* everything below; reset when the entry is built again */
	int			nnames;
	uint32	   *names;			/* hash values of schemas and types that data holds by name */
	void	   *data;			/* of the format */
} CachedRelation;

typedef struct RelationCache
{
	HTAB	   *entries;
	/* the entry asked for last: bulk loads ask for the same one again */
	CachedRelation *last;
	MemoryContext context;
	struct RelationCache *next; /* all live caches of the process */
} RelationCache;

/* Lives as long as context. */
extern RelationCache *relation_cache_create(MemoryContext context);

/* Do not call: the part of relation_cache_get that is not inlined. */
extern CachedRelation *relation_cache_search(RelationCache *cache, Oid relid);

/* Entry of a relation, valid or not; a new one is not. */
static inline CachedRelation *
relation_cache_get(RelationCache *cache, Oid relid)
{
	if (cache->last != NULL && cache->last->relid == relid)
		return cache->last;
	return relation_cache_search(cache, relid);
}

/*
 * Empties an entry, marks it valid and returns its memory context, in which the caller
 * then builds data. What arrives meanwhile makes the entry invalid again, as it must.
 */
extern MemoryContext relation_cache_begin_build(CachedRelation *entry);

/*
 * The entry's data depends on the name of this schema or type: ALTER ... RENAME does not touch the
 * relation.
 */
extern void relation_cache_depends_on_schema(CachedRelation *entry, Oid nspoid);
extern void relation_cache_depends_on_type(CachedRelation *entry, Oid typid);

#endif							/* REPLICATION_PLUGIN_RELATION_CACHE_H */
