/*
 * server_stop.h
 *		A walsender of ours while its server is being stopped.
 */
#ifndef REPLICATION_PLUGIN_SERVER_STOP_H
#define REPLICATION_PLUGIN_SERVER_STOP_H

/* A stream of ours begins or ends in this process. Nothing happens outside of a walsender. */
extern void server_stop_watch(void);
extern void server_stop_forget(void);

#endif							/* REPLICATION_PLUGIN_SERVER_STOP_H */
