/*
 * seen.h
 *		What this node has surely seen of every node's writes, by timestamp.
 *
 * A member's frontier row says of the member itself: all that I commit from here on has a greater
 * timestamp than this (clock_horizon()). Who has applied that row has applied all writes of that
 * member with lesser timestamps.
 */
#ifndef REPLICATION_PLUGIN_SEEN_H
#define REPLICATION_PLUGIN_SEEN_H

#include "base/shmem.h"
#include "model/frontier.h"

extern const ShmemArea seen_area;

/* A member's frontier row, as text, was applied (or written) here. */
extern void seen_note_row(NodeId member, const char *vector);

/*
 * Timestamps through which the writes of each node have been applied here, in CurrentMemoryContext
 * (positions mean nothing). Needs a transaction, as the first who asks after a start of the server
 * reads the frontier rows.
 */
extern Frontier *seen_through(void);

/* This database leaves its group: what was seen was of other nodes than the next group's. */
extern void seen_forget(void);

/* Changes whenever the above does. */
extern uint64 seen_generation(void);

#endif							/* REPLICATION_PLUGIN_SEEN_H */
