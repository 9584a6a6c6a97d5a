/*
 * copy_pool.h
 *		Workers that write the rows of a joining node: statements that several processes take one
 *		after the other.
 */
#ifndef REPLICATION_PLUGIN_COPY_POOL_H
#define REPLICATION_PLUGIN_COPY_POOL_H

#include "postgres.h"

#define COPY_TASK_PARAMS	7

/*
 * One statement, in a transaction of its own. Its result, if it has one, is a row of two numbers:
 * rows and bytes.
 */
typedef struct CopyTask
{
	const char *what;			/* for people */
	const char *sql;
	int			nparams;
	const char *params[COPY_TASK_PARAMS];
} CopyTask;

/* How far all is. */
typedef struct CopyProgress
{
	int			done;			/* tasks */
	int64		rows;			/* of these */
	int64		bytes;
	const char *pids;			/* of the workers, as an array of SQL */
} CopyProgress;

/*
 * Has up to nworkers processes do the tasks, which are begun in their order, under replication
 * origins that mark what they write as copied, and waits for the end. tell is called now and then.
 * The first error of any of them is raised here. The workers end with this process, whatever ends
 * it.
 */
extern void copy_pool_run(const CopyTask *tasks, int ntasks, int nworkers, void (*tell) (const CopyProgress *progress, void *arg), void *arg);

/* Ends workers that an earlier process has left behind, so that tables and origins are free. */
extern void copy_pool_end_old(void);

extern PGDLLEXPORT void replication_plugin_copy_main(Datum handle);

#endif							/* REPLICATION_PLUGIN_COPY_POOL_H */
