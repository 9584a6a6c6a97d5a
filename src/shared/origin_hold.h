/*
 * origin_hold.h
 *		One process at a time applies an origin's transactions (docs/protocol.md, Gate).
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_HOLD_H
#define REPLICATION_PLUGIN_ORIGIN_HOLD_H

#include "access/xlogdefs.h"

#include "base/shmem.h"
#include "model/version.h"

extern const ShmemArea origin_hold_area;

/*
 * Takes the hold of an origin of this database; waits, interruptible, for ms at most (0: for ever).
 * Returns whether it has it.
 */
extern bool origin_hold(NodeId origin, long ms);
extern void origin_hold_release(NodeId origin);

/* True if somebody has it now: then its transactions are being applied. */
extern bool origin_hold_is_held(NodeId origin);

/* True if somebody waits for it. */
extern bool origin_hold_wanted(NodeId origin);

/*
 * How far an origin's transactions can be seen here; InvalidXLogRecPtr if there are none.
 * (PostgreSQL moves the progress with the commit record, a moment before others see the rows.)
 * durable: also after a crash.
 */
extern XLogRecPtr origin_hold_visible(NodeId origin, bool durable);

/* The holder has committed one: it can be seen. */
extern void origin_hold_note(NodeId origin, XLogRecPtr lsn, TimestampTz ts);

/*
 * The greatest commit timestamp of an origin's transactions that are applied here; PG_INT64_MIN if
 * not known.
 */
extern TimestampTz origin_hold_ts(NodeId origin);

/* A database has left its group: its entries can serve others. */
extern void origin_hold_forget(Oid dboid);

#endif							/* REPLICATION_PLUGIN_ORIGIN_HOLD_H */
