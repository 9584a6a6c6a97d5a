/*
 * stable.h
 *		The stable vector, and when a lost node stops counting.
 *
 * All functions work on pure values (docs/protocol.md, Stable vector, Lost node, Frontier row). The
 * callers, which read the rows and store the results, are sqlapi/frontier.c and
 * control/group/group_worker.c. The results are used through catalog/stable_point.h.
 */
#ifndef REPLICATION_PLUGIN_STABLE_H
#define REPLICATION_PLUGIN_STABLE_H

#include "model/frontier.h"

/* What one node knows of a member, or of itself. */
typedef struct StableMember
{
	NodeId		node;
	bool		removed;		/* its removal is known on that node */
	/* the last frontier row applied; before the first one, that of the admission */
	const Frontier *row;
	/* removed nodes from which it is fenced, as that row tells */
	int			nfenced;
	const NodeId *fenced;
} StableMember;

/*
 * Returns true if a removed node no longer counts for node me, whose frontier is mine. That is so
 * when all members that are not removed have closed their links from it, and from each removed node
 * through which its transactions may still arrive, and when node me has all of its transactions
 * that any of them has.
 */
extern bool stable_removal_finished(const StableMember *members, int n, NodeId me,
									const Frontier *mine, NodeId removed);

/*
 * Raises the stable vector to the minimum of the frontier rows of all members that count, over the
 * origins in mine. It never decreases. Returns true if it rose.
 */
extern bool stable_raise(Frontier *stable, const StableMember *members, int n, NodeId me,
						 const Frontier *mine);

/* Returns true if all of f is stable, that is, if each of its entries is covered. */
extern bool stable_covers(const Frontier *stable, const Frontier *f);

#endif							/* REPLICATION_PLUGIN_STABLE_H */
