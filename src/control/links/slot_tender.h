/*
 * slot_tender.h
 *		Keeps the slots of this node from outliving their use.
 */
#ifndef REPLICATION_PLUGIN_SLOT_TENDER_H
#define REPLICATION_PLUGIN_SLOT_TENDER_H

/* One round. Memory: the current context. */
extern void slot_tender_round(void);

#endif							/* REPLICATION_PLUGIN_SLOT_TENDER_H */
