/*
 * seen.h
 *		The seen vector: up to which timestamp this node has surely applied every node's writes.
 *
 * The entry of a member in its own frontier row is a horizon (clock_horizon()): all that the member
 * commits after it has a greater timestamp. A node that has applied the row has therefore applied
 * all writes of that member with lesser timestamps.
 */
#ifndef REPLICATION_PLUGIN_SEEN_H
#define REPLICATION_PLUGIN_SEEN_H

#include "base/shmem.h"
#include "model/frontier.h"

extern const ShmemArea seen_area;

/*
 * Raises the entry of a member by its frontier row, given as text, which is being applied or
 * written here.
 */
extern void seen_note_row(NodeId member, const char *vector);

/*
 * Returns the seen vector in CurrentMemoryContext; its positions have no meaning. Needs a
 * transaction, as the first call after a start of the server reads the frontier rows.
 */
extern Frontier *seen_through(void);

/*
 * Clears the seen vector of this database, which leaves its group: the node numbers of another
 * group mean other nodes.
 */
extern void seen_forget(void);

/* Returns a number that changes whenever a seen vector does. */
extern uint64 seen_generation(void);

#endif							/* REPLICATION_PLUGIN_SEEN_H */
