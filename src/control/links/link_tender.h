/*
 * link_tender.h
 *		Keeps the links of this node as the topology asks for.
 */
#ifndef REPLICATION_PLUGIN_LINK_TENDER_H
#define REPLICATION_PLUGIN_LINK_TENDER_H

#include "catalog/nodes.h"

/* What a manager knows from earlier rounds. Zero at first. */
typedef struct LinkTender
{
	List	   *given_up;		/* providers (of int), in TopMemoryContext */
	List	   *places;			/* of Place *, in TopMemoryContext */
} LinkTender;

/*
 * Does one round: starts, restarts and stops link workers. Returns the number of links that cannot
 * run because max_links are in use. Allocates in the current context.
 */
extern int	link_tender_round(LinkTender *tender, LocalNode *local, List *nodes);

/* Stops all links. Returns true if they have ended. */
extern bool link_tender_stop_all(void);

/* Notes on all links why nothing runs. */
extern void link_tender_show_error(const LinkTender *tender, LocalNode *local, const char *message);

#endif							/* REPLICATION_PLUGIN_LINK_TENDER_H */
