/*
 * stable_point.h
 *		What all members have, as it was when the group slot was last moved
 *		(control/group/group_worker.c).
 */
#ifndef REPLICATION_PLUGIN_STABLE_POINT_H
#define REPLICATION_PLUGIN_STABLE_POINT_H

#include "model/frontier.h"

/*
 * All members have what older transactions (full transaction ids) wrote here; 0: nothing is known.
 */
extern uint64 stable_point_xid(void);

/*
 * All members have the writes of each node through these timestamps (positions mean nothing); in
 * CurrentMemoryContext.
 */
extern Frontier *stable_point_seen(void);

#endif							/* REPLICATION_PLUGIN_STABLE_POINT_H */
