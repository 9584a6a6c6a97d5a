/*
 * server_stop.h
 *		Ends a walsender of the native stream during a server shutdown.
 */
#ifndef REPLICATION_PLUGIN_SERVER_STOP_H
#define REPLICATION_PLUGIN_SERVER_STOP_H

/*
 * Start and stop watching for a shutdown, when a native stream begins or ends in this process. They
 * have no effect outside a walsender.
 */
extern void server_stop_watch(void);
extern void server_stop_forget(void);

#endif							/* REPLICATION_PLUGIN_SERVER_STOP_H */
