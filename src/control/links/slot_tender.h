/*
 * slot_tender.h
 *		Drops the slots of this node that are no longer used.
 */
#ifndef REPLICATION_PLUGIN_SLOT_TENDER_H
#define REPLICATION_PLUGIN_SLOT_TENDER_H

/* Does one round. Allocates in the current context. */
extern void slot_tender_round(void);

#endif							/* REPLICATION_PLUGIN_SLOT_TENDER_H */
