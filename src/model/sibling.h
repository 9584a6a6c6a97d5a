/*
 * sibling.h
 *		The concurrent values of one row: those writes of it that no other write has seen.
 *
 * A write is known by its version, its dot. It carries a context: which writes it replaces. After
 * dotted version vectors (Preguiça et al., "Dotted Version Vectors", 2012): the context is a vector
 * of what the writer's node had surely seen, and beyond that single dots. Delivery is causal, so a
 * write that is replaced is never met after the one that replaces it: nothing has to be remembered
 * of it, and a node's set of siblings is, in whatever order the writes came, the writes that it has
 * minus all that these replace.
 *
 * A row without a stored set has one sibling: itself, with the version of its heap tuple (or a
 * tombstone). That version may be unknown (VERSION_OLDEST): such a write is older than anything
 * that can still arrive, and who writes the row has seen it.
 *
 * Writes from before a table became mergeable are "plain": of two of them the greater version wins,
 * as it does where they meet on a plain table; a mergeable write replaces all lesser plain ones,
 * and a lesser plain one that comes after a mergeable one is dropped (docs/protocol.md, Change of
 * policy).
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
	const char *row;			/* what the caller keeps of it; NULL if deleted */
} Sibling;

/* Newest first. */
typedef struct SiblingSet
{
	int			n;
	int			capacity;
	Sibling    *items;
} SiblingSet;

/* What a write does to a sibling whose version its writer did not know. */
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
	bool		exact;			/* the client said what it had read: only that is replaced */
	OldestFate	oldest;
	int			nreplaces;
	Version    *replaces;
	int			nkeeps;			/* exact: what the writer's node had besides */
	Version    *keeps;
	/* timestamps through which the writer's node had seen each node's writes */
	const Frontier *seen;
} WriteContext;

/*
 * So many siblings a row can get by writes of one node that say what they have read. Who writes
 * enforces it: writes that arrive are merged whatever there is, or nodes would differ.
 */
#define SIBLINGS_MOST	1000

extern SiblingSet *sibling_set_create(void);

/* Adds without asking; the rows are not copied. */
extern void sibling_add(SiblingSet *set, Sibling s);

/*
 * True if the row is just deleted: all of its values, by whomever, are deletes. There is nothing to
 * decide, and nothing to keep.
 */
extern bool sibling_just_deleted(const SiblingSet *set);

/* Replaces VERSION_SELF by what it stands for. */
extern void sibling_resolve_self(SiblingSet *set, Version self);

/*
 * Merges a write into the set. Returns false if it changes nothing (a plain one that something
 * newer covers). In the set that a writer has itself, its version is VERSION_SELF.
 */
extern bool sibling_merge(SiblingSet *set, const WriteContext *context, Sibling write);

/*
 * The context of a write of this node, which has this set. read: versions that the client has read,
 * NULL to replace everything that is here (a row that is just deleted is replaced in any case).
 * Arrays are allocated in CurrentMemoryContext.
 */
extern void sibling_context(WriteContext *context, const SiblingSet *set, const Frontier *seen,
							const Version *read, int nread);

#endif							/* REPLICATION_PLUGIN_SIBLING_H */
