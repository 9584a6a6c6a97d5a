/*
 * run_program.h
 *		Running an external program (pg_dump, pg_restore) from a worker.
 */
#ifndef REPLICATION_PLUGIN_RUN_PROGRAM_H
#define REPLICATION_PLUGIN_RUN_PROGRAM_H

/* Path of a program beside this server's own; raises an error if it is not there. palloc'd. */
extern char *program_path(const char *name);

/*
 * Runs a program and waits for it, serving interrupts; it is ended when the wait is.
 * argv[0] is its path; password goes to it by environment (NULL: none). An exit status
 * other than 0 is an error with the end of what it wrote to stderr.
 */
extern void run_program(const char *const *argv, const char *password);

#endif							/* REPLICATION_PLUGIN_RUN_PROGRAM_H */
