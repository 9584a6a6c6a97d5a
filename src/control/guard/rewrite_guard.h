/*
 * rewrite_guard.h
 *		Which commands write the rows of replicated tables anew.
 */
#ifndef REPLICATION_PLUGIN_REWRITE_GUARD_H
#define REPLICATION_PLUGIN_REWRITE_GUARD_H

#include "base/hooks.h"

/* Takes part in the hooks for commands and objects (replication_plugin.c). */
extern void rewrite_guard_command(const UtilityCommand *command);
extern void rewrite_guard_object(ObjectAccessType access, Oid class, Oid object, int subid,
								 void *arg);

#endif							/* REPLICATION_PLUGIN_REWRITE_GUARD_H */
