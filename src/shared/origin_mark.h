/*
 * origin_mark.h
 *		Marks what this process writes as of a replication origin, and acquires origins.
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_MARK_H
#define REPLICATION_PLUGIN_ORIGIN_MARK_H

#include "access/xlogdefs.h"
#include "replication/origin.h"

#include "base/compat.h"

/*
 * Called from _PG_init only, before all other transaction callbacks are registered: so the position
 * is set when none of them can fail any more.
 */
extern void origin_mark_install(void);

/*
 * Marks what this process writes from here on; InvalidRepOriginId: as local. Only workers of the
 * extension call this. A process that is marked, and runs code that may roll back subtransactions,
 * must have acquired an origin: see origin_acquire_for_aborts().
 */
extern void origin_mark(RepOriginId origin);

/* Removes the mark, with the position and the timestamp of the transaction. */
extern void origin_unmark(void);

/* Removes the mark, and then aborts the transaction of this process, if there is one. */
extern void origin_abort_transaction(void);

/*
 * Acquires the replication state of an origin, or keeps it if this process has it. Releases that of
 * any other origin. Raises an error if another process has it. Call it in a transaction.
 */
extern void origin_acquire(RepOriginId origin);

/* Releases the replication state, if this process has one. */
extern void origin_give_back(void);

/*
 * Acquires an origin if the server needs one whenever a subtransaction of a marked process is rolled
 * back. Its progress does not change by that.
 */
extern void origin_acquire_for_aborts(RepOriginId origin);

/* Has the commit of the current transaction advance the acquired origin to a position. */
extern void origin_commit_at(XLogRecPtr lsn);

#endif							/* REPLICATION_PLUGIN_ORIGIN_MARK_H */
