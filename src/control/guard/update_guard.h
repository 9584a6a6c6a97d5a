/*
 * update_guard.h
 *		Refuses ALTER EXTENSION ... UPDATE on a member whose server has another version loaded.
 */
#ifndef REPLICATION_PLUGIN_UPDATE_GUARD_H
#define REPLICATION_PLUGIN_UPDATE_GUARD_H

#include "base/hooks.h"

/* Hook function for commands (replication_plugin.c). */
extern void update_guard_command(const UtilityCommand *command);

#endif							/* REPLICATION_PLUGIN_UPDATE_GUARD_H */
