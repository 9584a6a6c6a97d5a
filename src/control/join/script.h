/*
 * script.h
 *		A script of pg_dump, run in this database by a worker of ours.
 */
#ifndef REPLICATION_PLUGIN_SCRIPT_H
#define REPLICATION_PLUGIN_SCRIPT_H

/*
 * Runs the statements of a script, and one that notes it, in one transaction; settings that it
 * changes are put back.
 */
extern void script_run(const char *script, const char *note);

#endif							/* REPLICATION_PLUGIN_SCRIPT_H */
