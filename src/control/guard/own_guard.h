/*
 * own_guard.h
 *		Keeps the extension's own objects as they are while the database is in a group.
 */
#ifndef REPLICATION_PLUGIN_OWN_GUARD_H
#define REPLICATION_PLUGIN_OWN_GUARD_H

#include "base/hooks.h"

/* Takes part in the hooks for commands and objects (replication_plugin.c). */
extern void own_guard_command(const UtilityCommand *command);
extern void own_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
							 void *arg);

#endif							/* REPLICATION_PLUGIN_OWN_GUARD_H */
