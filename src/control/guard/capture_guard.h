/*
 * capture_guard.h
 *		Sees to it that the triggers which capture writes stay in force.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_GUARD_H
#define REPLICATION_PLUGIN_CAPTURE_GUARD_H

#include "base/hooks.h"

/* Takes part in the hooks for commands, objects and permissions (replication_plugin.c). */
extern void capture_guard_command(const UtilityCommand *command);
extern void capture_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								 void *arg);
extern void capture_guard_perms(List *range_table);

/* Has what a transaction has changed by hand mended before it commits; from _PG_init only. */
extern void capture_guard_install(void);

#endif							/* REPLICATION_PLUGIN_CAPTURE_GUARD_H */
