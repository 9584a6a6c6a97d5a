/*
 * stable_point.h
 *		The stable point: what was stable when the group slot was last moved
 *		(control/group/group_worker.c).
 */
#ifndef REPLICATION_PLUGIN_STABLE_POINT_H
#define REPLICATION_PLUGIN_STABLE_POINT_H

#include "model/frontier.h"

/*
 * Returns a full transaction id: all members have the writes of the older transactions of this
 * server. 0 if nothing is known.
 */
extern uint64 stable_point_xid(void);

/*
 * Returns the timestamps up to which all members have the writes of each node, in
 * CurrentMemoryContext. The positions have no meaning.
 */
extern Frontier *stable_point_seen(void);

#endif							/* REPLICATION_PLUGIN_STABLE_POINT_H */
