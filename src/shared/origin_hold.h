/*
 * origin_hold.h
 *		Lets one process at a time apply an origin's transactions (docs/protocol.md, Gate).
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_HOLD_H
#define REPLICATION_PLUGIN_ORIGIN_HOLD_H

#include "access/xlogdefs.h"

#include "base/shmem.h"
#include "model/version.h"

extern const ShmemArea origin_hold_area;

/*
 * Takes the hold of an origin of this database. Waits, interruptibly, for at most ms milliseconds
 * (0: without limit). Returns true if this process has the hold.
 */
extern bool origin_hold(NodeId origin, long ms);
extern void origin_hold_release(NodeId origin);

/* Has the end of this process release its holds. Called once, before the first of them. */
extern void origin_hold_release_at_exit(void);

/* Returns true if a process has the hold now, and so may be applying transactions of the origin. */
extern bool origin_hold_is_held(NodeId origin);

/* Returns true if a process waits for the hold. */
extern bool origin_hold_wanted(NodeId origin);

/*
 * Returns the position up to which an origin's transactions are visible here; InvalidXLogRecPtr if
 * there are none. PostgreSQL moves the progress with the commit record, a moment before other
 * sessions see the rows. durable: the position is also valid after a crash.
 */
extern XLogRecPtr origin_hold_visible(NodeId origin, bool durable);

/* Called by the holder when it has committed a transaction, which is visible now. */
extern void origin_hold_note(NodeId origin, XLogRecPtr lsn, TimestampTz ts);

/*
 * Returns the greatest commit timestamp of an origin's transactions that are applied here;
 * PG_INT64_MIN if it is not known.
 */
extern TimestampTz origin_hold_ts(NodeId origin);

/* Frees the entries of a database that has left its group, unless they are held or waited for. */
extern void origin_hold_forget(Oid dboid);

#endif							/* REPLICATION_PLUGIN_ORIGIN_HOLD_H */
