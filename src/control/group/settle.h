/*
 * settle.h
 *		Finds out when no plain write to a mergeable table can arrive any more.
 */
#ifndef REPLICATION_PLUGIN_SETTLE_H
#define REPLICATION_PLUGIN_SETTLE_H

#include "access/xlogdefs.h"

/*
 * Checks the mergeable tables that are not settled. stable: all members have what is in the local
 * WAL before this position.
 */
extern void settle_tables(XLogRecPtr stable);

#endif							/* REPLICATION_PLUGIN_SETTLE_H */
