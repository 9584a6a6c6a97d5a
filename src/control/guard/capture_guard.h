/*
 * capture_guard.h
 *		Keeps the triggers that capture writes in force.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_GUARD_H
#define REPLICATION_PLUGIN_CAPTURE_GUARD_H

#include "base/compat.h"
#include "base/hooks.h"

/* Hook functions for commands, objects and permissions (replication_plugin.c). */
extern void capture_guard_command(const UtilityCommand *command);
extern void capture_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								 void *arg);
extern void capture_guard_perms(List *range_table, List *permissions);

/* Registers the callback that restores triggers before a commit. Called from _PG_init only. */
extern void capture_guard_install(void);

#endif							/* REPLICATION_PLUGIN_CAPTURE_GUARD_H */
