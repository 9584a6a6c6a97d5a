/*
 * slot_tender.h
 *		Drops the slots of this node that are no longer used.
 */
#ifndef REPLICATION_PLUGIN_SLOT_TENDER_H
#define REPLICATION_PLUGIN_SLOT_TENDER_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

#include "base/moment.h"

/* What a manager knows from earlier rounds. Zero at first. */
typedef struct SlotTender
{
	List	   *spare;			/* of SpareSlot *, in TopMemoryContext */
	Moment		looked_at;
	XLogRecPtr	looked_end;		/* end of the WAL at that time */
} SlotTender;

/* Does one round. Allocates in the current context. */
extern void slot_tender_round(SlotTender *tender);

#endif							/* REPLICATION_PLUGIN_SLOT_TENDER_H */
