/*
 * lost_table.h
 *		Rows of a table that does not exist here: whether it is gone everywhere.
 */
#ifndef REPLICATION_PLUGIN_LOST_TABLE_H
#define REPLICATION_PLUGIN_LOST_TABLE_H

#include "receive/link.h"

/*
 * After an abort and apply_reset(), outside of transactions, when a row's table was not found:
 * returns true if rows of that table are passed over from now on, as no member has it any more.
 * Else says in *detail and *hint, palloc'd, what is known of it; they stay as they are if a table
 * of the row does exist here.
 */
extern bool lost_table_passed_over(Link *link, char **detail, char **hint);

#endif							/* REPLICATION_PLUGIN_LOST_TABLE_H */
