/*
 * constraint_guard.h
 *		Makes constraint triggers fire before the row session ends whose code has queued them.
 */
#ifndef REPLICATION_PLUGIN_CONSTRAINT_GUARD_H
#define REPLICATION_PLUGIN_CONSTRAINT_GUARD_H

#include "base/compat.h"
#include "base/hooks.h"

/* Hook functions for commands and permissions (replication_plugin.c). */
extern void constraint_guard_command(const UtilityCommand *command);
extern void constraint_guard_perms(List *range_table, List *permissions);

#endif							/* REPLICATION_PLUGIN_CONSTRAINT_GUARD_H */
