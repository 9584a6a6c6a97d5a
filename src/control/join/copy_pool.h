/*
 * copy_pool.h
 *		Workers that write the rows of a joining node: several processes take tasks from one list.
 */
#ifndef REPLICATION_PLUGIN_COPY_POOL_H
#define REPLICATION_PLUGIN_COPY_POOL_H

#include "postgres.h"

#define COPY_TASK_PARAMS	7

/*
 * A statement that runs in a transaction of its own. Its result, if any, is a row of two numbers:
 * rows and bytes.
 */
typedef struct CopyTask
{
	const char *what;			/* description */
	const char *sql;
	int			nparams;
	const char *params[COPY_TASK_PARAMS];
} CopyTask;

/* The progress of all tasks. */
typedef struct CopyProgress
{
	int			done;			/* tasks */
	int64		rows;			/* of the completed tasks */
	int64		bytes;
	const char *pids;			/* of the workers, as an array for SQL */
} CopyProgress;

/*
 * Runs tasks in up to nworkers processes, which take them in their order. The processes use
 * replication origins that mark their writes as copied. Waits until all have ended, and calls tell
 * every so often. Raises the first error of any worker. The workers end with this process, however
 * it ends.
 */
extern void copy_pool_run(const CopyTask *tasks, int ntasks, int nworkers,
						  void (*tell)(const CopyProgress *progress, void *arg), void *arg);

/* Ends workers that an earlier process has left behind, to free tables and origins. */
extern void copy_pool_end_old(void);

extern PGDLLEXPORT void replication_plugin_copy_main(Datum handle);

#endif							/* REPLICATION_PLUGIN_COPY_POOL_H */
