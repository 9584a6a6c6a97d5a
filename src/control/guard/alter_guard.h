/*
 * alter_guard.h
 *		Refuses changes of replicated tables that would invalidate what is stored about them.
 */
#ifndef REPLICATION_PLUGIN_ALTER_GUARD_H
#define REPLICATION_PLUGIN_ALTER_GUARD_H

#include "base/hooks.h"

/* Hook function for commands (replication_plugin.c). */
extern void alter_guard_command(const UtilityCommand *command);

#endif							/* REPLICATION_PLUGIN_ALTER_GUARD_H */
