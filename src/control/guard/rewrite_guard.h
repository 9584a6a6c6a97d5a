/*
 * rewrite_guard.h
 *		Finds commands that rewrite the rows of replicated tables.
 */
#ifndef REPLICATION_PLUGIN_REWRITE_GUARD_H
#define REPLICATION_PLUGIN_REWRITE_GUARD_H

#include "base/hooks.h"

/* Hook functions for commands and objects (replication_plugin.c). */
extern void rewrite_guard_command(const UtilityCommand *command);
extern void rewrite_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								 void *arg);

#endif							/* REPLICATION_PLUGIN_REWRITE_GUARD_H */
