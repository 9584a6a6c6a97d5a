/*
 * settle.h
 *		When no write from before a table became mergeable can come any more.
 */
#ifndef REPLICATION_PLUGIN_SETTLE_H
#define REPLICATION_PLUGIN_SETTLE_H

#include "access/xlogdefs.h"

/*
 * Looks at the tables that are new to it. stable: all members have what was in our WAL before this
 * position.
 */
extern void settle_tables(XLogRecPtr stable);

#endif							/* REPLICATION_PLUGIN_SETTLE_H */
