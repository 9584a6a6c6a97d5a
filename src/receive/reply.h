/*
 * reply.h
 *		Sends the subscriber's position to the provider, also while the worker waits.
 */
#ifndef REPLICATION_PLUGIN_REPLY_H
#define REPLICATION_PLUGIN_REPLY_H

#include "receive/link.h"

#define STATUS_INTERVAL_MS	1000	/* longest time between two status messages */

/*
 * Sends the worker's position. ping: ask the provider to answer. Raises an error if it cannot be
 * sent.
 */
extern void link_send_status(Link *link, bool ping);

/* Sends the position if it is time. quiet: also if there is something new to confirm. */
extern void link_maybe_send_status(Link *link, bool quiet);

/* Handles signals between messages. */
extern void link_serve_interrupts(void);

/* Sends the position in the middle of a message, if it is time. Never raises an error. */
extern void link_beat(Link *link);

/* Waits for a time in milliseconds, or until the latch is set, and keeps the provider informed. */
extern void link_wait(Link *link, long ms);

/*
 * Sets lock_timeout, so that the session gives up a lock that it cannot get after
 * replication_plugin.lock_patience: the table can then wait (table_wait.h) and everything else goes
 * on. soon: use a short timeout, because prepared transactions have had the lock for that long
 * already.
 */
extern void link_limit_lock_waits(bool soon);

#endif							/* REPLICATION_PLUGIN_REPLY_H */
