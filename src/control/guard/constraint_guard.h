/*
 * constraint_guard.h
 *		Constraint triggers of what a row's code writes fire before its row session ends.
 */
#ifndef REPLICATION_PLUGIN_CONSTRAINT_GUARD_H
#define REPLICATION_PLUGIN_CONSTRAINT_GUARD_H

#include "base/hooks.h"

/* Takes part in the hooks for commands and permissions (replication_plugin.c). */
extern void constraint_guard_command(const UtilityCommand *command);
extern void constraint_guard_perms(List *range_table);

#endif							/* REPLICATION_PLUGIN_CONSTRAINT_GUARD_H */
