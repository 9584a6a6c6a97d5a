/*
 * rename_guard.h
 *		Refuses another name for a table of which changes are kept.
 */
#ifndef REPLICATION_PLUGIN_RENAME_GUARD_H
#define REPLICATION_PLUGIN_RENAME_GUARD_H

#include "base/hooks.h"

/* Takes part in the hook for objects (replication_plugin.c). */
extern void rename_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								void *arg);

#endif							/* REPLICATION_PLUGIN_RENAME_GUARD_H */
