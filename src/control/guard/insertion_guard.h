/*
 * insertion_guard.h
 *		Keeps functions that are called for an index from writing in INSERT ... ON CONFLICT.
 */
#ifndef REPLICATION_PLUGIN_INSERTION_GUARD_H
#define REPLICATION_PLUGIN_INSERTION_GUARD_H

#include "base/compat.h"
#include "base/hooks.h"

/* Hook functions for commands, objects and permissions (replication_plugin.c). */
extern void insertion_guard_command(const UtilityCommand *command);
extern void insertion_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								   void *arg);
extern void insertion_guard_perms(List *range_table, List *permissions);

#endif							/* REPLICATION_PLUGIN_INSERTION_GUARD_H */
