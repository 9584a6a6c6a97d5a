/*
 * local_frontier.h
 *		The frontier of this node: up to where it has the transactions of every node, itself
 *		included.
 */
#ifndef REPLICATION_PLUGIN_LOCAL_FRONTIER_H
#define REPLICATION_PLUGIN_LOCAL_FRONTIER_H

#include "model/frontier.h"

/*
 * Returns the frontier, palloc'd. It covers every transaction whose commit record was in the local
 * WAL when the call began. The entry of this node is the end of the WAL at that moment, with a
 * horizon (clock_horizon()) as its timestamp. The timestamps of other nodes are those of their last
 * transactions applied since the server was started, if there were any.
 */
extern Frontier *local_frontier(NodeId me);

/*
 * Waits until every commit whose record is being written now is complete, and has moved the
 * progress of its origin.
 */
extern void local_wait_for_commits(void);

#endif							/* REPLICATION_PLUGIN_LOCAL_FRONTIER_H */
