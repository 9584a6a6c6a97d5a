/*
 * run_program.h
 *		Running an external program (pg_dump, psql) from a backend or worker.
 */
#ifndef REPLICATION_PLUGIN_RUN_PROGRAM_H
#define REPLICATION_PLUGIN_RUN_PROGRAM_H

/*
 * Path of a program that stands beside this server's own binary; an error if there is none.
 * palloc'd.
 */
extern char *program_path(const char *name);

/* What "path --version" calls its major version. */
extern int	program_major_version(const char *path);

/*
 * Runs a program and waits, serving interrupts; argv[0] is its path, environment a list of
 * NAME=value that is added to the server's (NULL: nothing). Both end with NULL. in and out are its
 * standard input and output, -1: /dev/null. An ERROR, with the last lines of what the program has
 * written to its standard error, if it fails; of them is told what tell() makes of them, if there
 * is such a function. It does not outlive this call, whatever ends it.
 *
 * Everybody on the machine can read the arguments: secrets go into the environment.
 */
extern void run_program(const char *const *argv, const char *const *environment, int in, int out, char *(*tell) (const char *messages, void *arg), void *arg);

#endif							/* REPLICATION_PLUGIN_RUN_PROGRAM_H */
