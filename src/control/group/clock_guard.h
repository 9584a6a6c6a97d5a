/*
 * clock_guard.h
 *		Checks this server's clock against those of the other members.
 */
#ifndef REPLICATION_PLUGIN_CLOCK_GUARD_H
#define REPLICATION_PLUGIN_CLOCK_GUARD_H

#include "nodes/pg_list.h"

#include "catalog/nodes.h"

/*
 * Does one check for the manager: notes why local writes are refused because of the clock, or that
 * they are not.
 */
extern void clock_guard_round(LocalNode *local, List *nodes);

#endif							/* REPLICATION_PLUGIN_CLOCK_GUARD_H */
