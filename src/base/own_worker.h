/*
 * own_worker.h
 *		Whether this process is a background worker of the extension.
 *
 * Workers of other extensions, such as schedulers of jobs, are background workers as well. They
 * run what their users say, so what holds for sessions holds for them.
 */
#ifndef REPLICATION_PLUGIN_OWN_WORKER_H
#define REPLICATION_PLUGIN_OWN_WORKER_H

/* The name of this library, under which its background workers are registered. */
#define LIBRARY_NAME	"replication_plugin"

/*
 * Returns true in a background worker of the extension. A parallel worker is none, whoever started
 * it: it writes nothing, so that nobody needs to know.
 */
extern bool is_own_worker(void);

#endif							/* REPLICATION_PLUGIN_OWN_WORKER_H */
