/*
 * restore_guard.h
 *		Changes how commands run while the schema of a joining node is restored.
 */
#ifndef REPLICATION_PLUGIN_RESTORE_GUARD_H
#define REPLICATION_PLUGIN_RESTORE_GUARD_H

#include "base/hooks.h"

/* Setting of the session that restores a schema: "SET <name> = on". Superusers only. */
#define RESTORING_SCHEMA	"replication_plugin.restoring_schema"

/* Returns true in that session. */
extern bool schema_is_being_restored(void);

/* Hook function for commands (replication_plugin.c). */
extern void restore_guard_command(const UtilityCommand *command);

/* Defines the setting. Called from _PG_init only. */
extern void restore_guard_install(void);

#endif							/* REPLICATION_PLUGIN_RESTORE_GUARD_H */
