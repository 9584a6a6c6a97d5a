/*
 * confirmed.h
 *		Keeps the position that this subscriber has confirmed to a provider, over restarts. It
 *		shows whether someone else has moved the slot.
 */
#ifndef REPLICATION_PLUGIN_CONFIRMED_H
#define REPLICATION_PLUGIN_CONFIRMED_H

#include "access/xlogdefs.h"

#include "receive/link.h"

/*
 * Returns the greatest position that this subscriber is known to have confirmed to the provider.
 * Sets *exact to false if it may have confirmed a little more before the machine crashed.
 */
extern XLogRecPtr confirmed_known(Link *link, bool *exact);

/*
 * Stores a position before it is confirmed. last: this process confirms nothing after it. Never
 * raises an error; a failure is logged.
 */
extern void confirmed_store(Link *link, XLogRecPtr position, bool last);

#endif							/* REPLICATION_PLUGIN_CONFIRMED_H */
