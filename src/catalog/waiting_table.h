/*
 * waiting_table.h
 *		Tables of which arriving rows are passed over, as they cannot be applied here, so that all others go on.
 */
#ifndef REPLICATION_PLUGIN_WAITING_TABLE_H
#define REPLICATION_PLUGIN_WAITING_TABLE_H

/* True if there are any. Needs a transaction. */
extern bool waiting_tables(void);

/* True if rows of a table are passed over on this node. Needs a transaction. */
extern bool waiting_table(const char *schema, const char *name);

#endif							/* REPLICATION_PLUGIN_WAITING_TABLE_H */
