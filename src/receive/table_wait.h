/*
 * table_wait.h
 *		Lets a table wait when its rows hold up a link for too long.
 */
#ifndef REPLICATION_PLUGIN_TABLE_WAIT_H
#define REPLICATION_PLUGIN_TABLE_WAIT_H

#include "receive/link.h"
#include "wire/wire.h"

/*
 * Decides after a failure whether the failing table begins to wait. Returns true if changes of the
 * table at which the transaction failed are kept from now on. passing: the error is expected to
 * pass. Call it after an abort and apply_reset(), outside of a transaction.
 */
extern bool table_waits(Link *link, const ErrorData *edata, const WireBegin *transaction,
						bool passing);

/*
 * Notes that rows of a table are passed over from now on, as no member has it. The transaction is
 * tried again for that, as for a table that waits.
 */
extern void table_wait_note_passed_over(Link *link, const WireBegin *transaction);

/*
 * Handles a transaction several of whose tables could not be applied one after the other. Of all
 * its tables (list of LostTable *), those that would fail as well begin to wait together. Call it
 * outside of a transaction.
 */
extern void tables_wait(Link *link, const WireBegin *transaction, List *tables);

/*
 * Notes the table at which this process is being ended because code did not let itself be
 * cancelled. Call it at the end of the process.
 */
extern void table_wait_note_end(Link *link);

/*
 * Makes the table wait at which the previous process was ended. Call it at the start of a process.
 */
extern void table_wait_after_end(Link *link);

#endif							/* REPLICATION_PLUGIN_TABLE_WAIT_H */
