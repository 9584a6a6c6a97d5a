/*
 * collector.h
 *		Removes what no older write can meet any more: tombstones, and deletes and merged columns of
 *		mergeable tables.
 */
#ifndef REPLICATION_PLUGIN_COLLECTOR_H
#define REPLICATION_PLUGIN_COLLECTOR_H

#include "storage/block.h"

#include "base/moment.h"

typedef struct Collector
{
	/* what older transactions wrote can go; InvalidTransactionId: nothing */
	TransactionId before;
	/* deletes of mergeable tables: also not newer than this; in TopMemoryContext */
	char	   *seen;
	/* before, when the pass began that is under way; InvalidTransactionId: none is */
	TransactionId started;
	int			table;			/* the pass is at this table, ... */
	BlockNumber block;			/* ... this block of it, ... */
	BlockNumber nblocks;		/* ... which had so many when it came there */
	Moment		worked_at;
	int			worked_ms;		/* how long it took the last time */
	Moment		vacuum_looked_at;
} Collector;

/*
 * What older transactions than this wrote has become stable, as have the writes through these
 * timestamps.
 */
extern void collector_stable(Collector *c, TransactionId before, const char *seen);

/*
 * Works for a moment, if there is anything to do and the last time was not just now. Outside of
 * transactions.
 */
extern void collector_work(Collector *c);

#endif							/* REPLICATION_PLUGIN_COLLECTOR_H */
