/*
 * link_worker.h
 *		Entry point of the link worker.
 */
#ifndef REPLICATION_PLUGIN_LINK_WORKER_H
#define REPLICATION_PLUGIN_LINK_WORKER_H

/* Main function of the dynamic background worker. The argument is the index of its LinkStatus. */
extern PGDLLEXPORT void replication_plugin_link_main(Datum link_status_index);

#endif							/* REPLICATION_PLUGIN_LINK_WORKER_H */
