/*
 * session_origin.h
 *		Under which origin this process writes, and commits.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H
#define REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H

#include "wire/wire.h"

/* Marks what this process writes from here on as that transaction's. Its origin exists already. */
extern void session_origin_mark(const WireBegin *begin);

/* What this process writes from here on is local again. */
extern void session_origin_unmark(void);

/*
 * Before the commit of a marked transaction: takes the origin, whose progress the commit moves. The
 * caller has the hold of the origin (receive/gate.h).
 */
extern void session_origin_take(const WireBegin *begin);

/* Between transactions, or after an abort: gives the origin back for other processes. */
extern void session_origin_release(void);

#endif							/* REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H */
