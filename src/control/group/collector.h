/*
 * collector.h
 *		Removes what no older write can meet any more: tombstones, and deletes and merged columns
 *		of mergeable tables.
 */
#ifndef REPLICATION_PLUGIN_COLLECTOR_H
#define REPLICATION_PLUGIN_COLLECTOR_H

#include "storage/block.h"

#include "base/moment.h"

typedef struct Collector
{
	/* what older transactions wrote can be removed; InvalidTransactionId: nothing */
	TransactionId before;
	/* for mergeable tables, deletes must also not be newer than this; in TopMemoryContext */
	char	   *seen;
	/* value of before when the current pass began; InvalidTransactionId: no pass */
	TransactionId started;
	int			table;			/* current table of the pass */
	BlockNumber block;			/* next block of that table */
	BlockNumber nblocks;		/* number of blocks when the pass came to the table */
	Moment		worked_at;
	int			worked_ms;		/* duration of the last call */
	Moment		vacuum_looked_at;
} Collector;

/*
 * Notes that what transactions older than before wrote has become stable, and so have the writes
 * through the timestamps in seen.
 */
extern void collector_stable(Collector *c, TransactionId before, const char *seen);

/*
 * Works for a moment if there is anything to do and the last call was not just now. Call it outside
 * of a transaction.
 */
extern void collector_work(Collector *c);

#endif							/* REPLICATION_PLUGIN_COLLECTOR_H */
