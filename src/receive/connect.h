/*
 * connect.h
 *		The connection to a provider: handshake, slot, and the start of the stream.
 */
#ifndef REPLICATION_PLUGIN_CONNECT_H
#define REPLICATION_PLUGIN_CONNECT_H

#include "receive/link.h"

typedef enum LinkMade
{
	LINK_MADE,
	LINK_NO_SLOT,				/* the provider has not made the slot yet */
	LINK_SLOT_RENEWED			/* somebody had moved it: it is being made anew */
} LinkMade;

/*
 * Connects to the provider and looks at our slot there; *confirmed: its position. Without a result
 * of LINK_MADE the connection is closed again. Raises errors of the provider.
 */
extern LinkMade link_connect(Link *link, XLogRecPtr *confirmed);

/* Starts streaming from the slot's confirmed position. */
extern void link_start(Link *link);

/* What the provider is asked to send in full besides its own. */
extern char *link_full_origins(Link *link);

#endif							/* REPLICATION_PLUGIN_CONNECT_H */
