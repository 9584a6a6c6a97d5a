/*
 * own_guard.h
 *		Protects the extension's own objects from changes while the database is in a group.
 */
#ifndef REPLICATION_PLUGIN_OWN_GUARD_H
#define REPLICATION_PLUGIN_OWN_GUARD_H

#include "base/hooks.h"

/* Hook functions for commands and objects (replication_plugin.c). */
extern void own_guard_command(const UtilityCommand *command);
extern void own_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
							 void *arg);

#endif							/* REPLICATION_PLUGIN_OWN_GUARD_H */
