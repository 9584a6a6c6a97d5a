/*
 * confirm_watch.h
 *		Tells sessions that wait for it when the subscriber of this walsender has confirmed more.
 */
#ifndef REPLICATION_PLUGIN_CONFIRM_WATCH_H
#define REPLICATION_PLUGIN_CONFIRM_WATCH_H

/*
 * Begins to watch, in a walsender, until the process ends. Does nothing in other processes.
 * confirm_watch_end() is called when a stream ends.
 */
extern void confirm_watch_begin(void);
extern void confirm_watch_end(void);

#endif							/* REPLICATION_PLUGIN_CONFIRM_WATCH_H */
