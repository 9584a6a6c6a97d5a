/*
 * gate.c
 *		What has been applied here, as seen from one link (PROTOCOL: Gate).
 *
 * Two links can carry the same origin's transactions, so before one is applied its
 * origin is held, and with the hold the frontier decides whether it is new. The
 * hold is kept from one transaction to the next as long as nobody else wants it.
 */
#include "postgres.h"

#include "apply/apply.h"
#include "catalog/origin_hold.h"
#include "receive/gate.h"

static NodeId self = INVALID_NODE_ID;
static NodeId held = INVALID_NODE_ID;

void
gate_init(NodeId me)
{
	self = me;
}

bool
gate_covers(NodeId origin, XLogRecPtr lsn)
{
	return origin == self || origin_hold_visible(origin, false) >= lsn;
}

const FrontierEntry *
gate_missing(const WireStub *stub)
{
	for (int i = 0; i < stub->n; i++)
	{
		if (!gate_covers(stub->entries[i].node, stub->entries[i].lsn))
			return &stub->entries[i];
	}
	return NULL;
}

void
gate_hold(NodeId origin)
{
	if (held == origin)
		return;
	gate_release();
	origin_hold(origin);
	held = origin;
}

void
gate_release(void)
{
	if (held == INVALID_NODE_ID)
		return;
	apply_release_origin();
	origin_hold_release(held);
	held = INVALID_NODE_ID;
}

void
gate_release_if_wanted(void)
{
	if (held != INVALID_NODE_ID && origin_hold_wanted(held))
		gate_release();
}
