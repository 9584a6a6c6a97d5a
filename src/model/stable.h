/*
 * stable.h
 *		What every member has: the stable vector, and when a lost node stops counting.
 *
 * Pure values (docs/protocol.md, Stable vector, Lost node, Frontier row). The callers read the rows
 * and keep the results: sqlapi/frontier.c, control/group/group_worker.c; who uses them:
 * catalog/stable_point.h.
 */
#ifndef REPLICATION_PLUGIN_STABLE_H
#define REPLICATION_PLUGIN_STABLE_H

#include "model/frontier.h"

/* What one node knows of a member, itself included. */
typedef struct StableMember
{
	NodeId		node;
	bool		removed;		/* its removal is known here */
	/* its last frontier row applied here; before the first one, that of its admission */
	const Frontier *row;
	/* removed nodes from which it takes nothing any more, as that row says */
	int			nfenced;
	const NodeId *fenced;
} StableMember;

/*
 * True if a removed node no longer counts for node me, whose frontier is mine: all members that are
 * not removed have closed their links from it, and from each removed node through which something
 * of it may still come; and what any of them has of its transactions is here.
 */
extern bool stable_removal_finished(const StableMember *members, int n, NodeId me, const Frontier *mine,
									NodeId removed);

/*
 * Raises the stable vector to the minimum of the frontier rows of all members that count,
 * over the origins of mine. It never falls. Returns true if it rose.
 */
extern bool stable_raise(Frontier *stable, const StableMember *members, int n, NodeId me, const Frontier *mine);

/* True if everything of f is stable: each of its entries is covered. */
extern bool stable_covers(const Frontier *stable, const Frontier *f);

#endif							/* REPLICATION_PLUGIN_STABLE_H */
