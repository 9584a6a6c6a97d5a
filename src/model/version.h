/*
 * version.h
 *		The version, by which the writes to a row are ordered: (commit timestamp, origin node).
 *
 * The order is total and the same on every node: it depends on the two values only, and not on the
 * node that compares them.
 */
#ifndef REPLICATION_PLUGIN_VERSION_H
#define REPLICATION_PLUGIN_VERSION_H

#include "datatype/timestamp.h"

typedef int32 NodeId;			/* a node's number in its group, from 1, never used again */

#define INVALID_NODE_ID		((NodeId) 0)

typedef struct Version
{
	TimestampTz ts;				/* origin's commit timestamp */
	NodeId		node;			/* origin node */
} Version;

/*
 * Older than every write: the version of copied rows, and of rows whose commit timestamp is gone.
 */
#define VERSION_OLDEST	((Version) {PG_INT64_MIN, INVALID_NODE_ID})

/*
 * Stands for the version of the transaction that is writing, which it gets at commit. Newer than
 * all others.
 */
#define VERSION_SELF ((Version) {PG_INT64_MAX, INVALID_NODE_ID})

/*
 * Returns a number less than, equal to or greater than zero if a is older than, the same as or
 * newer than b.
 */
static inline int
version_cmp(Version a, Version b)
{
	if (a.ts != b.ts)
		return a.ts < b.ts ? -1 : 1;
	if (a.node != b.node)
		return a.node < b.node ? -1 : 1;
	return 0;
}

static inline bool
version_is_oldest(Version v)
{
	return v.ts == PG_INT64_MIN;
}

static inline bool
version_is_self(Version v)
{
	return v.ts == PG_INT64_MAX;
}

#endif							/* REPLICATION_PLUGIN_VERSION_H */
