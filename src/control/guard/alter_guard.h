/*
 * alter_guard.h
 *		Refuses changes of replicated tables that their bookkeeping would not survive.
 */
#ifndef REPLICATION_PLUGIN_ALTER_GUARD_H
#define REPLICATION_PLUGIN_ALTER_GUARD_H

#include "base/hooks.h"

/* Takes part in the hook for commands (replication_plugin.c). */
extern void alter_guard_command(const UtilityCommand *command);

#endif							/* REPLICATION_PLUGIN_ALTER_GUARD_H */
