/*
 * sibling.h
 *		The concurrent values of one row: the writes of it that no other write has seen.
 *
 * A write is identified by its version, the dot. It carries a context: which writes it replaces.
 * This follows dotted version vectors (Preguiça et al., "Dotted Version Vectors", 2012): the
 * context is a vector of the writes that the writer's node had surely seen, and single dots beyond
 * it. Delivery is causal, so a replaced write never arrives after the write that replaces it, and
 * need not be remembered. In whatever order the writes arrived, a node's set of siblings is the
 * writes that it has, minus all that these replace.
 *
 * A row without a stored set has one sibling: itself, with the version of its heap tuple (or a
 * tombstone). That version may be unknown (VERSION_OLDEST). Such a write is older than any that can
 * still arrive, and every writer of the row has seen it.
 *
 * Writes from before a table became mergeable are "plain". Of two plain writes the greater version
 * wins, as on a plain table. A mergeable write replaces all lesser plain ones, and a lesser plain
 * write that arrives after a mergeable one is dropped (docs/protocol.md, Change of policy).
 */
#ifndef REPLICATION_PLUGIN_SIBLING_H
#define REPLICATION_PLUGIN_SIBLING_H

#include "model/frontier.h"
#include "model/version.h"

typedef struct Sibling
{
	Version		version;
	bool		plain;
	bool		deleted;
	int			len;			/* of row */
	const char *row;			/* what the caller stores of the row; NULL if deleted */
} Sibling;

/* Sorted by version, the newest first. */
typedef struct SiblingSet
{
	int			n;
	int			capacity;
	Sibling    *items;
} SiblingSet;

/* The effect of a write on a sibling whose version its writer did not know. */
typedef enum OldestFate
{
	OLDEST_ABSENT,				/* there was none */
	OLDEST_REPLACED,
	OLDEST_KEPT
} OldestFate;

/* The context of a write. */
typedef struct WriteContext
{
	bool		plain;			/* from before the table was mergeable: the rest is unused */
	bool		exact;			/* the client told what it had read: only that is replaced */
	OldestFate	oldest;
	int			nreplaces;
	Version    *replaces;
	int			nkeeps;			/* exact: further versions that the writer's node had */
	Version    *keeps;
	/* timestamps up to which the writer's node had seen each node's writes */
	const Frontier *seen;
} WriteContext;

/*
 * The number of siblings that a row can get by writes of one node that tell what they have read.
 * The writing node enforces it. Arriving writes are always merged, because nodes would differ
 * otherwise.
 */
#define SIBLINGS_MOST	1000

extern SiblingSet *sibling_set_create(void);

/* Adds a sibling without regard to the others. The row is not copied. */
extern void sibling_add(SiblingSet *set, Sibling s);

/*
 * Returns true if the row is deleted: all its siblings, of whatever node, are deletes. Then there
 * is nothing to decide, and nothing to keep.
 */
extern bool sibling_just_deleted(const SiblingSet *set);

/* Replaces VERSION_SELF by the version of its transaction. */
extern void sibling_resolve_self(SiblingSet *set, Version self);

/*
 * Merges a write into the set. Returns false if the write changes nothing (a plain one, where there
 * is a newer sibling). In the writer's own set the write has VERSION_SELF.
 */
extern bool sibling_merge(SiblingSet *set, const WriteContext *context, Sibling write);

/*
 * Makes the context of a write of this node, which has this set. read: the versions that the client
 * has read; NULL to replace all siblings. A deleted row is replaced in any case. Arrays are
 * allocated in CurrentMemoryContext.
 */
extern void sibling_context(WriteContext *context, const SiblingSet *set, const Frontier *seen,
							const Version *read, int nread);

#endif							/* REPLICATION_PLUGIN_SIBLING_H */
