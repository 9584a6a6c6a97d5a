/*
 * gate.h
 *		Tells a link what has been applied on this node: stubs, holds, the frontier.
 */
#ifndef REPLICATION_PLUGIN_GATE_H
#define REPLICATION_PLUGIN_GATE_H

#include "wire/wire.h"

/* The hold that a process has. Zero at first. */
typedef struct Gate
{
	NodeId		self;			/* this node's number */
	NodeId		held;			/* origin whose hold the process has, or INVALID_NODE_ID */
} Gate;

StaticAssertDecl(INVALID_NODE_ID == 0, "a gate that is zero holds nothing");

/* Sets this node's number, before any other use. */
extern void gate_init(Gate *gate, NodeId me);

/* Returns true if this node's frontier covers a transaction, or if the transaction is local. */
extern bool gate_covers(const Gate *gate, NodeId origin, XLogRecPtr lsn);

/*
 * Returns the first entry of a stub that the frontier does not cover or that is not visible yet, or
 * NULL if there is none.
 */
extern const FrontierEntry *gate_missing(const Gate *gate, const WireStub *stub);

/*
 * Takes the hold on an origin, waiting for the worker of another link, or keeps it if held already.
 */
extern void gate_hold(Gate *gate, NodeId origin);

/*
 * Like gate_hold(), but waits for at most ms milliseconds. Returns true if the hold was obtained.
 */
extern bool gate_hold_for(Gate *gate, NodeId origin, long ms);

/* Release the hold, if there is one: at once, or only if another worker waits for it. */
extern void gate_release(Gate *gate);
extern void gate_release_if_wanted(Gate *gate);

#endif							/* REPLICATION_PLUGIN_GATE_H */
