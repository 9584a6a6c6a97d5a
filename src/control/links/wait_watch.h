/*
 * wait_watch.h
 *		Which workers of this database wait for a lock, for the log.
 */
#ifndef REPLICATION_PLUGIN_WAIT_WATCH_H
#define REPLICATION_PLUGIN_WAIT_WATCH_H

/* In each round of the manager: tells the log once of each lock that a link waits for. */
extern void wait_watch_round(void);

#endif							/* REPLICATION_PLUGIN_WAIT_WATCH_H */
