/*
 * run_guard.h
 *		Holds local writes back after a start of the server until other members know whether it runs
 *		on, or was restored from an old backup.
 */
#ifndef REPLICATION_PLUGIN_RUN_GUARD_H
#define REPLICATION_PLUGIN_RUN_GUARD_H

#include "base/moment.h"
#include "catalog/nodes.h"

/*
 * Does one round of the manager: lets local writes begin when nothing speaks against it. *since is
 * when the first round was, or 0: before it, no link was allowed to run.
 */
extern void run_guard_round(Moment *since, LocalNode *local, List *nodes);

#endif							/* REPLICATION_PLUGIN_RUN_GUARD_H */
