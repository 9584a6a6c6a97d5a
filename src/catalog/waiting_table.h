/*
 * waiting_table.h
 *		Tables that wait: arriving changes of them cannot be applied here now, so that all others go
 *		on.
 */
#ifndef REPLICATION_PLUGIN_WAITING_TABLE_H
#define REPLICATION_PLUGIN_WAITING_TABLE_H

#include "postgres.h"

/* A table that waits. */
typedef struct WaitingTable
{
	char	   *schema;
	char	   *name;
	uint32		number;			/* by which what is kept calls it */
	/* what is kept has seen rows of older transactions, whatever has become stable since */
	uint64		stable_xid;
	/* its changes are kept (apply/keep.c), and applied later; else they are passed over */
	bool		kept;
} WaitingTable;

/* True if there are any. Needs a transaction. */
extern bool waiting_tables(void);

/*
 * How often the list has been read by this process: what was looked up before is looked up again.
 * After a call of waiting_tables().
 */
extern uint64 waiting_tables_reading(void);

/* The entry of a table; NULL if it does not wait. Good until the next call. Needs a transaction. */
extern const WaitingTable *waiting_table(const char *schema, const char *name);

/* The same for a local table, or the root of a partition. */
extern const WaitingTable *waiting_table_by_oid(Oid relid);

#endif							/* REPLICATION_PLUGIN_WAITING_TABLE_H */
