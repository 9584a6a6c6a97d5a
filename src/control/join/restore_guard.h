/*
 * restore_guard.h
 *		What is done otherwise while the schema of a joining node is restored.
 */
#ifndef REPLICATION_PLUGIN_RESTORE_GUARD_H
#define REPLICATION_PLUGIN_RESTORE_GUARD_H

/* Set in the session that restores a schema: "SET <name> = on". Superusers only. */
#define RESTORING_SCHEMA	"replication_plugin.restoring_schema"

/* True in that session. */
extern bool schema_is_being_restored(void);

extern void restore_guard_install(void);

#endif							/* REPLICATION_PLUGIN_RESTORE_GUARD_H */
