/*
 * merge_history.h
 *		One merged column of one row on some nodes, for random histories (merge_history.c), and what it should show
 *		(merge_expect.c).
 */
#ifndef MERGE_HISTORY_H
#define MERGE_HISTORY_H

#include "model/merge.h"

#define MOST_NODES	5
#define MOST_TXNS	80
#define MOST_WRITES 6
#define MOST_ELEMENTS 24
#define PATHS		15			/* the root, a and b in it, a and b in each of these, and once more */

/* A value as the expectation has it: what the kind in question needs of this. */
typedef struct Value
{
	bool		isnull;
	int64		number;			/* counter, last_write_wins */
	int			n;				/* set: elements, NULL_ELEMENT is one */
	int			elements[MOST_ELEMENTS];
	int			leaves[PATHS];	/* map: 0 for none */
} Value;

#define NULL_ELEMENT	(-1)
#define NULL_MARK		30		/* stands for the set that is NULL */
#define LEAF_NULL		1		/* SQL NULL, at the root only */
#define LEAF_EMPTY		2		/* {}; from 10 on numbers, or arrays of one number */

typedef enum Action
{
	INSERT,
	UPDATE,
	TOUCH,						/* an update of other columns */
	DELETE,
	PLAIN						/* a write from before the table was mergeable */
} Action;

typedef struct Write
{
	Action		action;
	Value		old;			/* of an update */
	Value		new;
	uint32		about;			/* of an update: a bit for each element or path; set by expect_about() */
	/* what travels */
	char	   *op;
	int			oplen;
	Datum		value;
	bool		isnull;
} Write;

typedef struct Txn
{
	NodeId		origin;
	int			seq;
	Version		version;
	int			deps[MOST_NODES + 1];	/* how many of each node its writer had applied */
	Frontier   *seen;			/* the same as timestamps, or less */
	int			nwrites;		/* 0: only tells what its node has */
	Write		writes[MOST_WRITES];
} Txn;

typedef struct History
{
	MergeKind	kind;
	Oid			typid;
	bool		initial;		/* the row is there from the beginning */
	Value		first;
	int			nnodes;
	int			ntxns[MOST_NODES + 1];
	Txn		   *txns[MOST_NODES + 1][MOST_TXNS];	/* the first has number 1, at place 0 */
} History;

/* The path above one; that of the root is below 0. Its keys are at 2 * path + 1 and 2 * path + 2. */
static inline int
path_above(int path)
{
	return path == 0 ? -1 : (path - 1) / 2;
}

/* True if one path is another one, or above it. */
static inline bool
path_is_above(int above, int path)
{
	while (path > above)
		path = path_above(path);
	return path == above;
}

/* True if a value has a leaf at a path or below it. */
static inline bool
has_leaf_below(const Value *v, int path)
{
	for (int p = path; p < PATHS; p++)
	{
		if (v->leaves[p] && path_is_above(path, p))
			return true;
	}
	return false;
}

/* Notes what an update of a set or map is about. */
extern void expect_about(MergeKind kind, Write *w);

/* What a node shows that has applied the first so many transactions of each. Returns false if the row is gone. */
extern bool expect_row(const History *h, const int *applied, Value *value);

#endif							/* MERGE_HISTORY_H */
