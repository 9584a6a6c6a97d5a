/*
 * table_wait.h
 *		Has a table wait at whose rows a link fails for too long.
 */
#ifndef REPLICATION_PLUGIN_TABLE_WAIT_H
#define REPLICATION_PLUGIN_TABLE_WAIT_H

#include "receive/link.h"
#include "wire/wire.h"

/*
 * After an abort and apply_reset(), outside of transactions: true if changes of the table at which
 * the transaction failed wait from now on. passing: the error is one that comes and goes.
 */
extern bool table_waits(Link *link, const ErrorData *edata, const WireBegin *transaction, bool passing);

/*
 * Rows of a table are passed over from here on, as no member has it: as for a table that waits, the
 * transaction is tried again for that.
 */
extern void table_wait_note_passed_over(Link *link, const WireBegin *transaction);

/*
 * Several tables of a transaction could not be applied, one after the other. Of all its tables
 * (LostTable *) those wait from here on, together, that would follow: outside of transactions.
 */
extern void tables_wait(Link *link, const WireBegin *transaction, List *tables);

/*
 * At the end of a process that was ended since code did not let itself be cancelled: notes at which
 * table.
 */
extern void table_wait_note_end(Link *link);

/* At the start of a process: has the table wait that the one before was ended at. */
extern void table_wait_after_end(Link *link);

#endif							/* REPLICATION_PLUGIN_TABLE_WAIT_H */
