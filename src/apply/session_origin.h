/*
 * session_origin.h
 *		Sets the replication origin under which this process writes and commits.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H
#define REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H

#include "wire/wire.h"

/*
 * Marks what this process writes from here on as part of that transaction. Its origin must exist,
 * and that of repairs too. held: the caller has the hold of the origin (receive/gate.h). Call it in
 * a transaction.
 */
extern void session_origin_mark(const WireBegin *begin, bool held);

/* Makes what this process writes from here on local again. */
extern void session_origin_unmark(void);

/*
 * Takes the origin, whose progress the commit advances. Call it before the commit of a marked
 * transaction. The caller must have the hold of the origin (receive/gate.h).
 */
extern void session_origin_take(const WireBegin *begin);

/* Releases the origin for other processes. Call it between transactions, or after an abort. */
extern void session_origin_release(void);

#endif							/* REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H */
