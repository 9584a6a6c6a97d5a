/*
 * gate.h
 *		What has been applied here, as seen from one link: stubs, holds, the frontier.
 */
#ifndef REPLICATION_PLUGIN_GATE_H
#define REPLICATION_PLUGIN_GATE_H

#include "wire/wire.h"

/* Once per process: this node's number. */
extern void gate_init(NodeId me);

/* True if this node's frontier covers a transaction (also: it is one of our own). */
extern bool gate_covers(NodeId origin, XLogRecPtr lsn);

/*
 * First entry of a stub that the frontier does not cover, or that cannot be seen here yet; NULL if
 * there is none.
 */
extern const FrontierEntry *gate_missing(const WireStub *stub);

/* Takes the hold on an origin (waits for another link's worker), or keeps the one it has. */
extern void gate_hold(NodeId origin);

/* The same for so many milliseconds at most; returns whether it has it. */
extern bool gate_hold_for(NodeId origin, long ms);

/* Gives the hold back, if it has one: at once, or only if somebody waits for it. */
extern void gate_release(void);
extern void gate_release_if_wanted(void);

#endif							/* REPLICATION_PLUGIN_GATE_H */
