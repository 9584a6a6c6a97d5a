/*
 * settle.h
 *		Finds out when no plain write to a mergeable table can arrive any more.
 */
#ifndef REPLICATION_PLUGIN_SETTLE_H
#define REPLICATION_PLUGIN_SETTLE_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

/* The tables that are waited for. Zero at first. */
typedef struct Settling
{
	List	   *waiting;		/* private; in TopMemoryContext */
} Settling;

/*
 * Checks the mergeable tables that are not settled. stable: all members have what is in the local
 * WAL before this position.
 */
extern void settle_tables(Settling *settling, XLogRecPtr stable);

#endif							/* REPLICATION_PLUGIN_SETTLE_H */
