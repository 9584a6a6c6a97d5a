/*
 * lost_table.h
 *		Finds out whether a table that does not exist on this node is gone everywhere.
 */
#ifndef REPLICATION_PLUGIN_LOST_TABLE_H
#define REPLICATION_PLUGIN_LOST_TABLE_H

#include "receive/link.h"

/*
 * Returns true if rows of the table that was not found are passed over from now on, because no
 * member has it any more. Otherwise sets *detail and *hint, palloc'd, to what is known of it; they
 * stay as they are if the table of the row does exist on this node. Call it after an abort and
 * apply_reset(), outside of a transaction.
 */
extern bool lost_table_passed_over(Link *link, char **detail, char **hint);

#endif							/* REPLICATION_PLUGIN_LOST_TABLE_H */
