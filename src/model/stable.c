/*
 * stable.c
 *		What every member has: the stable vector, and when a lost node stops counting.
 */
#include "postgres.h"

#include "model/stable.h"

/* True if a member's last row says that it takes nothing from a node any more. */
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

/* True if all members that are not removed take nothing from a node any more. */
static bool
all_fenced(const StableMember *members, int n, NodeId removed)
{
	for (int i = 0; i < n; i++)
	{
		if (!members[i].removed && !is_fenced(&members[i], removed))
			return false;
	}
	return true;
}

bool
stable_removal_finished(const StableMember *members, int n, NodeId me, const Frontier *mine,
						NodeId removed)
{
	for (int i = 0; i < n; i++)
	{
		const StableMember *m = &members[i];

		if (m->node == me && m->removed)
			return false;		/* we are out ourselves: nobody tells us any more */
		if (m->node == removed)
			continue;
		if (frontier_lsn(m->row, removed) > frontier_lsn(mine, removed))
			return false;
		if (!is_fenced(m, removed) && !(m->removed && all_fenced(members, n, m->node)))
			return false;
	}
	return true;
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
