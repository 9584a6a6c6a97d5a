/*
 * wait_watch.h
 *		Logs which link workers of this database wait for a lock, and ends sessions that hold such
 *		locks for too long.
 */
#ifndef REPLICATION_PLUGIN_WAIT_WATCH_H
#define REPLICATION_PLUGIN_WAIT_WATCH_H

/* Does one round of the manager: logs once each lock wait of a link, and ends sessions for it. */
extern void wait_watch_round(void);

#endif							/* REPLICATION_PLUGIN_WAIT_WATCH_H */
