/*
 * origin_guard.h
 *		Replication origins of groups that somebody drops.
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_GUARD_H
#define REPLICATION_PLUGIN_ORIGIN_GUARD_H

#include "base/hooks.h"

/* Takes part in the hook for objects (replication_plugin.c). */
extern void origin_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								void *arg);

#endif							/* REPLICATION_PLUGIN_ORIGIN_GUARD_H */
