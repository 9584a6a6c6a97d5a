/*
 * confirm_watch.h
 *		Tells sessions that wait for it when the subscriber of this walsender has confirmed more.
 */
#ifndef REPLICATION_PLUGIN_CONFIRM_WATCH_H
#define REPLICATION_PLUGIN_CONFIRM_WATCH_H

/* Begins to watch, in a walsender. Does nothing in other processes. */
extern void confirm_watch_begin(void);
extern void confirm_watch_end(void);

#endif							/* REPLICATION_PLUGIN_CONFIRM_WATCH_H */
