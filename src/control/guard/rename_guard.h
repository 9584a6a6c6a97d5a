/*
 * rename_guard.h
 *		Refuses to rename a table with kept changes.
 */
#ifndef REPLICATION_PLUGIN_RENAME_GUARD_H
#define REPLICATION_PLUGIN_RENAME_GUARD_H

#include "base/hooks.h"

/* Hook function for objects (replication_plugin.c). */
extern void rename_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								void *arg);

#endif							/* REPLICATION_PLUGIN_RENAME_GUARD_H */
