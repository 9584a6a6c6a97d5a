/*
 * drop_guard.h
 *		Keeps a member of a group from being dropped without a word.
 */
#ifndef REPLICATION_PLUGIN_DROP_GUARD_H
#define REPLICATION_PLUGIN_DROP_GUARD_H

#include "base/hooks.h"

/* Takes part in the hooks for commands and objects (replication_plugin.c). */
extern void drop_guard_command(const UtilityCommand *command);
extern void drop_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
							  void *arg);

#endif							/* REPLICATION_PLUGIN_DROP_GUARD_H */
