/*
 * local_frontier.h
 *		How far this node has everybody's transactions, itself included.
 */
#ifndef REPLICATION_PLUGIN_LOCAL_FRONTIER_H
#define REPLICATION_PLUGIN_LOCAL_FRONTIER_H

#include "model/frontier.h"

/*
 * The frontier: it covers every transaction whose commit record was in the local WAL when the
 * call began. The own entry is the end of the WAL at that moment. Timestamps are
 * those of the last transactions applied since the server started, where there were any.
 */
extern Frontier *local_frontier(NodeId me);

/*
 * Waits until the commits that are being written now are marked as such, and have moved their
 * origin's progress.
 */
extern void local_wait_for_commits(void);

#endif							/* REPLICATION_PLUGIN_LOCAL_FRONTIER_H */
