/*
 * write_guard.h
 *		Keeps local writes away from replicated tables of a node that is not ready.
 */
#ifndef REPLICATION_PLUGIN_WRITE_GUARD_H
#define REPLICATION_PLUGIN_WRITE_GUARD_H

#include "base/hooks.h"

/*
 * Raises the error that a local write of a table would get now, if any: for functions that write
 * past the executor.
 */
extern void write_guard_check(Oid relid);

/* Takes part in the hooks for commands, objects and permissions (replication_plugin.c). */
extern void write_guard_command(const UtilityCommand *command);
extern void write_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
							   void *arg);
extern void write_guard_perms(List *range_table);

#endif							/* REPLICATION_PLUGIN_WRITE_GUARD_H */
