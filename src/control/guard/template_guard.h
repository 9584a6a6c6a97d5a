/*
 * template_guard.h
 *		Ends the extension's processes in a member's database that is copied.
 */
#ifndef REPLICATION_PLUGIN_TEMPLATE_GUARD_H
#define REPLICATION_PLUGIN_TEMPLATE_GUARD_H

#include "base/hooks.h"

/* Hook function for commands (replication_plugin.c). */
extern void template_guard_command(const UtilityCommand *command);

#endif							/* REPLICATION_PLUGIN_TEMPLATE_GUARD_H */
