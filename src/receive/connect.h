/*
 * connect.h
 *		Connects to a provider: handshake, slot, and the start of the stream.
 */
#ifndef REPLICATION_PLUGIN_CONNECT_H
#define REPLICATION_PLUGIN_CONNECT_H

#include "receive/link.h"

typedef enum LinkMade
{
	LINK_MADE,
	LINK_NO_SLOT,				/* the provider has not made the slot yet */
	LINK_SLOT_RENEWED			/* someone had moved it: it is being made anew */
} LinkMade;

/*
 * Connects to the provider and checks this node's slot there. Sets *confirmed to the position of
 * the slot. Closes the connection again unless the result is LINK_MADE. Raises errors of the
 * provider.
 */
extern LinkMade link_connect(Link *link, XLogRecPtr *confirmed);

/* Starts streaming from the confirmed position of the slot. */
extern void link_start(Link *link);

/* Returns the origins that the provider is asked to send in full besides its own. */
extern char *link_full_origins(Link *link);

#endif							/* REPLICATION_PLUGIN_CONNECT_H */
