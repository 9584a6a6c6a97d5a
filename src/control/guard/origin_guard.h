/*
 * origin_guard.h
 *		Protects the replication origins of groups from being dropped.
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_GUARD_H
#define REPLICATION_PLUGIN_ORIGIN_GUARD_H

#include "base/hooks.h"

/* Hook function for objects (replication_plugin.c). */
extern void origin_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								void *arg);

/* Registers for the end of transactions. Called from _PG_init() only. */
extern void origin_guard_install(void);

#endif							/* REPLICATION_PLUGIN_ORIGIN_GUARD_H */
