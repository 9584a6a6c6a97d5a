/*
 * write_guard.h
 *		Refuses local writes to replicated tables on a node that is not ready.
 */
#ifndef REPLICATION_PLUGIN_WRITE_GUARD_H
#define REPLICATION_PLUGIN_WRITE_GUARD_H

#include "base/compat.h"
#include "base/hooks.h"

/*
 * Raises the error that a local write to a table would raise now, if any. For functions that write
 * without the executor.
 */
extern void write_guard_check(Oid relid);

/* Hook functions for commands, objects and permissions (replication_plugin.c). */
extern void write_guard_command(const UtilityCommand *command);
extern void write_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
							   void *arg);
extern void write_guard_perms(List *range_table, List *permissions);

#endif							/* REPLICATION_PLUGIN_WRITE_GUARD_H */
