/*
 * waiting_table.h
 *		Tables that wait: their arriving changes cannot be applied now, so that the link goes on
 *		without them.
 */
#ifndef REPLICATION_PLUGIN_WAITING_TABLE_H
#define REPLICATION_PLUGIN_WAITING_TABLE_H

#include "postgres.h"

/* A table that waits. */
typedef struct WaitingTable
{
	char	   *schema;
	char	   *name;
	uint32		number;			/* by which kept changes refer to the table */
	/* kept changes have seen rows of older transactions, whatever has become stable since */
	uint64		stable_xid;
	/* changes are kept (apply/keep.c) and applied later; else they are passed over */
	bool		kept;
} WaitingTable;

/* Returns true if any table waits. Needs a transaction. */
extern bool waiting_tables(void);

/*
 * Returns how often this process has read the list. When the number has changed, entries must be
 * looked up again. Call waiting_tables() first.
 */
extern uint64 waiting_tables_reading(void);

/*
 * Returns the entry of a table; NULL if it does not wait. Valid until the next call. Needs a
 * transaction.
 */
extern const WaitingTable *waiting_table(const char *schema, const char *name);

/* The same for a local table, or for the root of a partition. */
extern const WaitingTable *waiting_table_by_oid(Oid relid);

/*
 * Returns the entry of a local table whose changes are kept, or NULL. Unlike
 * waiting_table_by_oid(), it does not take a partition for its root. Call waiting_tables() first.
 */
extern const WaitingTable *waiting_table_kept(Oid relid);

/* Hook function for changes of tables (replication_plugin.c). */
extern void waiting_tables_changed(Oid relid);

#endif							/* REPLICATION_PLUGIN_WAITING_TABLE_H */
