/*
 * wakeup.h
 *		Wakes sessions that wait until something has happened on this server.
 *
 * A session looks whether what it waits for has happened, and sleeps if it has not, again and
 * again. Each sleep has a limit, since some events are not sent: an error that ends a transaction
 * gives a place back, and COMMIT PREPARED calls no transaction callback.
 */
#ifndef REPLICATION_PLUGIN_WAKEUP_H
#define REPLICATION_PLUGIN_WAKEUP_H

#include "base/moment.h"
#include "base/shmem.h"

typedef enum Wakeup
{
	WAKEUP_CONFIRMED,			/* a subscriber has confirmed more, or rows of the group changed */
	WAKEUP_APPLIED,				/* a transaction of another node has been applied here */
	WAKEUP_GROUP,				/* rows of the group's own tables have been committed */
	WAKEUP_PLACE				/* a place for connections to other nodes is free */
} Wakeup;

#define WAKEUPS				4
#define WAKEUP_LONGEST_MS	1000	/* the longest sleep between two looks */

extern const ShmemArea wakeup_area;

/*
 * Wakes all sessions that wait for an event, which has happened. Takes a spinlock, and cannot fail.
 * WAKEUP_GROUP also wakes those that wait for WAKEUP_CONFIRMED.
 */
extern void wakeup_send(Wakeup event);

/*
 * Sleeps until the event occurs, but at most ms milliseconds, and not longer than WAKEUP_LONGEST_MS.
 * The first call for an event returns at once: what happened before it may have been missed.
 * Serves interrupts. wakeup_done() ends the waiting; an error does that too.
 */
extern void wakeup_sleep(Wakeup event, long ms);
extern void wakeup_done(void);

/* Likewise, until a deadline. Returns false at once if it has come. */
extern bool wakeup_sleep_until(Wakeup event, Moment deadline);

/* Sleeps for ms milliseconds, whatever happens. Serves interrupts. */
extern void wakeup_pause(long ms);

/*
 * Returns the number of WAKEUP_GROUP events on this server. Whoever has read it before the tables
 * need not read them again as long as it stays the same, but for the events that are not sent.
 */
extern uint64 wakeup_group_events(void);

#endif							/* REPLICATION_PLUGIN_WAKEUP_H */
