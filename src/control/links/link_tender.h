/*
 * link_tender.h
 *		Keeps the links that this node takes changes from as the topology wants them.
 */
#ifndef REPLICATION_PLUGIN_LINK_TENDER_H
#define REPLICATION_PLUGIN_LINK_TENDER_H

#include "catalog/nodes.h"

/*
 * One round: starts, restarts and stops link workers. Returns how many links cannot run, as this
 * server has no place for them (max_links). Memory: the current context.
 */
extern int	link_tender_round(LocalNode *local, List *nodes);

/* Ends all links. Returns true if they have ended. */
extern bool link_tender_stop_all(void);

/* Notes on all links why nothing runs. */
extern void link_tender_show_error(LocalNode *local, const char *message);

#endif							/* REPLICATION_PLUGIN_LINK_TENDER_H */
