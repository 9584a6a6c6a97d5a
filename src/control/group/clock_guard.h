/*
 * clock_guard.h
 *		Finds out whether this server's clock is near those of the other members.
 */
#ifndef REPLICATION_PLUGIN_CLOCK_GUARD_H
#define REPLICATION_PLUGIN_CLOCK_GUARD_H

#include "nodes/pg_list.h"

#include "catalog/nodes.h"

/*
 * One look, by the manager: notes why local writes are refused for the clock's sake, or that they
 * are not.
 */
extern void clock_guard_round(LocalNode *local, List *nodes);

#endif							/* REPLICATION_PLUGIN_CLOCK_GUARD_H */
