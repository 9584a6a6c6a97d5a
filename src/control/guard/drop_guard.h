/*
 * drop_guard.h
 *		Refuses to drop a member of a group.
 */
#ifndef REPLICATION_PLUGIN_DROP_GUARD_H
#define REPLICATION_PLUGIN_DROP_GUARD_H

#include "base/hooks.h"

/* Hook functions for commands and objects (replication_plugin.c). */
extern void drop_guard_command(const UtilityCommand *command);
extern void drop_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
							  void *arg);

#endif							/* REPLICATION_PLUGIN_DROP_GUARD_H */
