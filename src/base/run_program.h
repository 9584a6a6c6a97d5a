/*
 * run_program.h
 *		Runs an external program (pg_dump, psql) from a backend or worker.
 */
#ifndef REPLICATION_PLUGIN_RUN_PROGRAM_H
#define REPLICATION_PLUGIN_RUN_PROGRAM_H

/*
 * Returns the path, palloc'd, of a program beside this server's own binary. Raises an error if
 * there is none.
 */
extern char *program_path(const char *name);

/* Returns the major version that "path --version" reports. */
extern int	program_major_version(const char *path);

/*
 * Runs a program and waits, serving interrupts. argv[0] is its path. environment is a list of
 * NAME=value that is added to the server's environment (NULL: nothing). Both lists end with NULL.
 * in and out are the program's standard input and output; -1: /dev/null. If the program fails,
 * raises an ERROR with the last lines that the program has written to standard error, as converted
 * by tell(), if given. The program does not outlive this call, however it ends.
 *
 * Every user of the machine can read the arguments, so secrets must go into the environment.
 */
extern void run_program(const char *const *argv, const char *const *environment, int in, int out,
						char *(*tell)(const char *messages, void *arg), void *arg);

#endif							/* REPLICATION_PLUGIN_RUN_PROGRAM_H */
