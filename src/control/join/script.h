/*
 * script.h
 *		Runs a script of pg_dump in this database, in a worker.
 */
#ifndef REPLICATION_PLUGIN_SCRIPT_H
#define REPLICATION_PLUGIN_SCRIPT_H

/*
 * Runs the statements of a script, and a statement that notes its completion, in one transaction.
 * Settings that the script changes are restored.
 */
extern void script_run(const char *script, const char *note);

#endif							/* REPLICATION_PLUGIN_SCRIPT_H */
