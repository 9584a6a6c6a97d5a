/*
 * stable.c
 *		The stable vector, and when a lost node stops counting.
 */
#include "postgres.h"

#include "model/stable.h"

/* Returns true if a member's last frontier row tells that it is fenced from a removed node. */
static bool
is_fenced(const StableMember *m, NodeId removed)
{
	for (int i = 0; i < m->nfenced; i++)
	{
		if (m->fenced[i] == removed)
			return true;
	}
	return false;
}

/*
 * Marks the nodes that may still get transactions of a removed node that no other node has: that
 * node itself, and every node that still takes changes from a marked one. A removed node does not
 * end such a path, because it may forward what it gets.
 */
static bool *
mark_open(const StableMember *members, int n, NodeId removed)
{
	bool	   *open = palloc(n * sizeof(bool));
	bool		more = true;

	for (int i = 0; i < n; i++)
		open[i] = members[i].node == removed;
	while (more)
	{
		more = false;
		for (int i = 0; i < n; i++)
		{
			for (int j = 0; j < n && !open[i]; j++)
			{
				if (open[j] && !is_fenced(&members[i], members[j].node))
					open[i] = more = true;
			}
		}
	}
	return open;
}

bool
stable_removal_finished(const StableMember *members, int n, NodeId me, const Frontier *mine,
						NodeId removed)
{
	bool	   *open = mark_open(members, n, removed);
	bool		finished = true;

	for (int i = 0; i < n; i++)
	{
		const StableMember *m = &members[i];

		if (m->node == me && m->removed)
			finished = false;	/* this node is removed itself, and gets no more frontier rows */
		if (m->node != removed && frontier_lsn(m->row, removed) > frontier_lsn(mine, removed))
			finished = false;
		if (open[i] && !m->removed)
			finished = false;
	}
	pfree(open);
	return finished;
}

bool
stable_raise(Frontier *stable, const StableMember *members, int n, NodeId me, const Frontier *mine)
{
	bool	   *counts = palloc(n * sizeof(bool));
	bool		rose = false;

	for (int i = 0; i < n; i++)
		counts[i] = !members[i].removed ||
			!stable_removal_finished(members, n, me, mine, members[i].node);
	for (int o = 0; o < mine->n; o++)
	{
		FrontierEntry least = {mine->entries[o].node, PG_UINT64_MAX, PG_INT64_MAX};

		for (int i = 0; i < n; i++)
		{
			if (!counts[i])
				continue;
			least.lsn = Min(least.lsn, frontier_lsn(members[i].row, least.node));
			least.ts = Min(least.ts, frontier_ts(members[i].row, least.node));
		}
		if (least.lsn != PG_UINT64_MAX && least.lsn > frontier_lsn(stable, least.node))
			rose |= frontier_raise(stable, least.node, least.lsn, least.ts);
	}
	pfree(counts);
	return rose;
}

bool
stable_covers(const Frontier *stable, const Frontier *f)
{
	for (int i = 0; i < f->n; i++)
	{
		if (!frontier_covers(stable, f->entries[i].node, f->entries[i].lsn))
			return false;
	}
	return true;
}
