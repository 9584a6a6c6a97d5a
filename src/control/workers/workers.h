/*
 * workers.h
 *		Starts and sets up background workers.
 */
#ifndef REPLICATION_PLUGIN_WORKERS_H
#define REPLICATION_PLUGIN_WORKERS_H

#include "postmaster/bgworker.h"

/*
 * Starts a dynamic worker that runs a function of this library. The postmaster notifies this
 * process of its start and end, and never restarts it. Returns NULL, after a WARNING that names the
 * setting to raise, if the server has no free worker slot.
 */
extern BackgroundWorkerHandle *worker_start(const char *function, const char *name, Datum arg);

/* Returns true while a worker from worker_start() has not ended. */
extern bool worker_is_running(BackgroundWorkerHandle *handle);

/* Sets up a worker: signal handling, connection, and session settings. */
extern void worker_setup(Oid dboid);

/*
 * Has the statements of this worker planned once, and not for their parameters: for workers that
 * run the same statements on the extension's small tables again and again, and no code of users.
 */
extern void worker_plan_once(void);

/* Waits on the latch for at most ms milliseconds, and handles interrupts and reloads. */
extern void worker_wait(long ms);

/* Registers the launcher. Called from _PG_init only. */
extern void launcher_register(void);

extern PGDLLEXPORT void replication_plugin_launcher_main(Datum arg);
extern PGDLLEXPORT void replication_plugin_manager_main(Datum dboid);
extern PGDLLEXPORT void replication_plugin_group_main(Datum dboid);
extern PGDLLEXPORT void replication_plugin_park_main(Datum dboid);

#endif							/* REPLICATION_PLUGIN_WORKERS_H */
