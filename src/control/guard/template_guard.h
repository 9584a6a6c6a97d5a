/*
 * template_guard.h
 *		Our processes give way where a member's database is copied.
 */
#ifndef REPLICATION_PLUGIN_TEMPLATE_GUARD_H
#define REPLICATION_PLUGIN_TEMPLATE_GUARD_H

#include "base/hooks.h"

/* Takes part in the hook for commands (replication_plugin.c). */
extern void template_guard_command(const UtilityCommand *command);

#endif							/* REPLICATION_PLUGIN_TEMPLATE_GUARD_H */
