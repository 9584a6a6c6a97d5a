/*
 * link_worker.h
 *		Entry point of the process that works on one link.
 */
#ifndef REPLICATION_PLUGIN_LINK_WORKER_H
#define REPLICATION_PLUGIN_LINK_WORKER_H

/* Dynamic background worker; argument: index of its LinkStatus. */
extern PGDLLEXPORT void replication_plugin_link_main(Datum link_status_index);

#endif							/* REPLICATION_PLUGIN_LINK_WORKER_H */
