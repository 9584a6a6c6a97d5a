/*
 * session_origin.h
 *		Under which origin this process writes, and commits.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H
#define REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H

#include "wire/wire.h"

/* Marks what this process writes from here on as of the origin of that transaction, which exists. */
extern void session_origin_mark(const WireBegin *begin);

/* What this process writes from here on is local again. */
extern void session_origin_unmark(void);

/* Before the commit of a marked transaction: takes the origin, whose progress the commit moves. The caller holds it (receive/gate.h). */
extern void session_origin_take(const WireBegin *begin);

/* Between transactions, or after an abort: gives back what was taken, so that another process can have it. */
extern void session_origin_release(void);

#endif							/* REPLICATION_PLUGIN_APPLY_SESSION_ORIGIN_H */
