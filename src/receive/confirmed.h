/*
 * confirmed.h
 *		What this subscriber has confirmed to a provider, over restarts: tells whether somebody else
 *		has moved its slot.
 */
#ifndef REPLICATION_PLUGIN_CONFIRMED_H
#define REPLICATION_PLUGIN_CONFIRMED_H

#include "access/xlogdefs.h"

#include "receive/link.h"

/*
 * Returns the greatest position that this subscriber has confirmed to the provider, as far as it
 * knows. exact: it knows; else it may have confirmed a little more, before this server's machine
 * crashed.
 */
extern XLogRecPtr confirmed_known(Link *link, bool *exact);

/*
 * Stores a position, before it is confirmed; last: nothing is confirmed any more by this process.
 * Never raises an error.
 */
extern void confirmed_store(Link *link, XLogRecPtr position, bool last);

#endif							/* REPLICATION_PLUGIN_CONFIRMED_H */
