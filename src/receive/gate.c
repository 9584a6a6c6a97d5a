/*
 * gate.c
 *		Tells a link what has been applied on this node (docs/protocol.md, Gate).
 *
 * Two links can carry transactions of the same origin. Before one is applied, the link worker takes
 * the hold of the origin; under the hold, the frontier decides whether the transaction is new. The
 * worker keeps the hold from one transaction to the next as long as no other worker wants it.
 */
#include "postgres.h"

#include "replication/syncrep.h"
#include "storage/proc.h"

#include "apply/session_origin.h"
#include "receive/gate.h"
#include "shared/origin_hold.h"

void
gate_init(Gate *gate, NodeId me)
{
	gate->self = me;
}

bool
gate_covers(const Gate *gate, NodeId origin, XLogRecPtr lsn)
{
	Assert(gate->self != INVALID_NODE_ID);
	return origin == gate->self || origin_hold_visible(origin, false) >= lsn;
}

/*
 * Returns true if a local transaction that other nodes have seen is visible on this node. With
 * synchronous replication it may still wait for a standby; transactions that have seen it wait as
 * well.
 */
static bool
own_is_visible(XLogRecPtr lsn)
{
	if (SyncRepStandbyNames == NULL || SyncRepStandbyNames[0] == '\0')
		return true;
	for (int i = 0; i < ProcGlobal->allProcCount; i++)
	{
		volatile PGPROC *p = &ProcGlobal->allProcs[i];

		if (p->syncRepState == SYNC_REP_WAITING && p->waitLSN <= lsn)
			return false;
	}
	return true;
}

const FrontierEntry *
gate_missing(const Gate *gate, const WireStub *stub)
{
	for (int i = 0; i < stub->n; i++)
	{
		const FrontierEntry *e = &stub->entries[i];

		if (e->node == gate->self ? !own_is_visible(e->lsn) : !gate_covers(gate, e->node, e->lsn))
			return e;
	}
	return NULL;
}

bool
gate_hold_for(Gate *gate, NodeId origin, long ms)
{
	if (gate->held == origin)
		return true;
	gate_release(gate);
	Assert(gate->held == INVALID_NODE_ID);
	if (!origin_hold(origin, ms))
		return false;
	gate->held = origin;
	return true;
}

void
gate_hold(Gate *gate, NodeId origin)
{
	(void) gate_hold_for(gate, origin, 0);
}

void
gate_release(Gate *gate)
{
	if (gate->held == INVALID_NODE_ID)
		return;
	session_origin_release();
	origin_hold_release(gate->held);
	gate->held = INVALID_NODE_ID;
}

void
gate_release_if_wanted(Gate *gate)
{
	if (gate->held != INVALID_NODE_ID && origin_hold_wanted(gate->held))
		gate_release(gate);
}
