/*
 * reply.h
 *		What a provider hears from us while it sends, and waiting meanwhile.
 */
#ifndef REPLICATION_PLUGIN_REPLY_H
#define REPLICATION_PLUGIN_REPLY_H

#include "receive/link.h"

#define STATUS_INTERVAL_MS	1000	/* at least so often the provider hears from us */

/* Sends our position. ping: the provider is to answer. */
extern void link_send_status(Link *link, bool ping);

/* Sends our position if it is time, or if there is something new to confirm at a quiet moment. */
extern void link_maybe_send_status(Link *link, bool quiet);

/* Serves signals between messages. */
extern void link_serve_interrupts(void);

/*
 * Lets the provider hear from us in the middle of a message, if it is time; never raises an error.
 */
extern void link_beat(Link *link);

/* Waits, keeping the provider informed. */
extern void link_wait(Link *link, long ms);

/* Has the session give up a lock that it cannot have when replication_plugin.lock_patience is over, so that the table can wait (table_wait.h) and all else goes on; soon, where
 * prepared transactions are in the way that have been there for that long already. */
extern void link_limit_lock_waits(bool soon);

#endif							/* REPLICATION_PLUGIN_REPLY_H */
