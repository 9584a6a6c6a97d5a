/*
 * restore_guard.h
 *		What is done otherwise while the schema of a joining node is restored.
 */
#ifndef REPLICATION_PLUGIN_RESTORE_GUARD_H
#define REPLICATION_PLUGIN_RESTORE_GUARD_H

#include "base/hooks.h"

/* Set in the session that restores a schema: "SET <name> = on". Superusers only. */
#define RESTORING_SCHEMA	"replication_plugin.restoring_schema"

/* True in that session. */
extern bool schema_is_being_restored(void);

/* Takes part in the hook for commands (replication_plugin.c). */
extern void restore_guard_command(const UtilityCommand *command);

/* Defines the setting; from _PG_init only. */
extern void restore_guard_install(void);

#endif							/* REPLICATION_PLUGIN_RESTORE_GUARD_H */
