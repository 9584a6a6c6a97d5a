/*
 * run_guard.h
 *		Holds local writes back after a start of the server until other members know whether it runs
 *		on, or was restored from an old backup.
 */
#ifndef REPLICATION_PLUGIN_RUN_GUARD_H
#define REPLICATION_PLUGIN_RUN_GUARD_H

#include "catalog/nodes.h"

/* Does one round of the manager: lets local writes begin when nothing speaks against it. */
extern void run_guard_round(LocalNode *local, List *nodes);

#endif							/* REPLICATION_PLUGIN_RUN_GUARD_H */
