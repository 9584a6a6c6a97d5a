/*
 * workers.h
 *		Starting background workers of ours.
 */
#ifndef REPLICATION_PLUGIN_WORKERS_H
#define REPLICATION_PLUGIN_WORKERS_H

#include "postmaster/bgworker.h"

/*
 * Starts a dynamic worker that runs one of our functions, is notified about to this
 * process, and is never restarted by the postmaster. Returns NULL, after a WARNING with
 * the setting to raise, when the server has no free worker slot.
 */
extern BackgroundWorkerHandle *worker_start(const char *function, const char *name, Datum arg);

/* True while a worker that worker_start() gave has not ended. */
extern bool worker_is_running(BackgroundWorkerHandle *handle);

/* Session settings of our workers that use SQL; starts signal handling and connects. */
extern void worker_setup(Oid dboid);

/* Waits on the latch, serving interrupts and reloads. */
extern void worker_wait(long ms);

/* Registers the launcher; from _PG_init only. */
extern void launcher_register(void);

extern PGDLLEXPORT void replication_plugin_launcher_main(Datum arg);
extern PGDLLEXPORT void replication_plugin_manager_main(Datum dboid);
extern PGDLLEXPORT void replication_plugin_group_main(Datum dboid);
extern PGDLLEXPORT void replication_plugin_park_main(Datum dboid);

#endif							/* REPLICATION_PLUGIN_WORKERS_H */
