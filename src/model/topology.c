/*
 * topology.c
 *		The links that a group has, and the origins that each of them carries in full.
 */
#include "postgres.h"

#include "model/topology.h"

static const char *const shapes[] = {
	[TOPOLOGY_ALL_TO_ALL] = "all_to_all",
	[TOPOLOGY_STAR] = "star",
	[TOPOLOGY_RING] = "ring",
	[TOPOLOGY_CUSTOM] = "custom",
};

bool
topology_shape_from_text(const char *text, TopologyShape *shape)
{
	for (int i = 0; i < lengthof(shapes); i++)
	{
		if (strcmp(text, shapes[i]) == 0)
		{
			*shape = i;
			return true;
		}
	}
	return false;
}

const char *
topology_shape_name(TopologyShape shape)
{
	return shapes[shape];
}

/* ---------- sets of links ---------- */

/* Returns an empty set, palloc'd, with room for all links of n members. */
static TopologyLinks *
topology_create(int n)
{
	TopologyLinks *l = palloc0(sizeof(TopologyLinks));

	l->links = palloc0(Max(n * n, 1) * sizeof(TopologyLink));
	for (int i = 0; i < n * n; i++)
		l->links[i].full = palloc(Max(n, 1) * sizeof(NodeId));
	return l;
}

TopologyLink *
topology_find(const TopologyLinks *l, NodeId provider, NodeId subscriber)
{
	for (int i = 0; i < l->n; i++)
	{
		if (l->links[i].provider == provider && l->links[i].subscriber == subscriber)
			return &l->links[i];
	}
	return NULL;
}

/* Adds a link, unless it is there already. */
static void
topology_add(TopologyLinks *l, NodeId provider, NodeId subscriber, bool reroute)
{
	TopologyLink *new;

	if (provider == subscriber || topology_find(l, provider, subscriber))
		return;
	new = &l->links[l->n++];
	new->provider = provider;
	new->subscriber = subscriber;
	new->reroute = reroute;
	new->nfull = 0;
}

/* Removes a link. Its memory moves to the end of the array. */
static void
topology_drop(TopologyLinks *l, TopologyLink *link)
{
	TopologyLink gone = *link;

	*link = l->links[--l->n];
	l->links[l->n] = gone;
}

/* Returns true if a node is a member. */
static bool
topology_is_member(const TopologyMember *members, int n, NodeId node)
{
	for (int i = 0; i < n; i++)
	{
		if (members[i].node == node)
			return true;
	}
	return false;
}

/* ---------- shapes ---------- */

/*
 * Puts the members in the order of a topology: first those that it names, in its order, then the
 * others by number. Returns their number.
 */
static int
topology_in_order(const Topology *t, const TopologyMember *members, int n, NodeId *order)
{
	int			count = 0;

	for (int i = 0; i < t->nnodes && count < n; i++)
	{
		bool		again = false;

		for (int j = 0; j < count; j++)
			again |= order[j] == t->nodes[i];
		if (!again && topology_is_member(members, n, t->nodes[i]))
			order[count++] = t->nodes[i];
	}
	for (int i = 0; i < n; i++)
	{
		bool		named = false;

		for (int j = 0; j < count; j++)
			named |= order[j] == members[i].node;
		if (!named)
			order[count++] = members[i].node;
	}
	return count;
}

/* Adds the links of the shapes that have no list of links. */
static void
add_shape(TopologyLinks *l, const Topology *t, const TopologyMember *members, int n)
{
	NodeId	   *order = palloc(Max(n, 1) * sizeof(NodeId));
	int			count = topology_in_order(t, members, n, order);

	for (int i = 0; i < count; i++)
	{
		switch (t->shape)
		{
			case TOPOLOGY_ALL_TO_ALL:
				for (int j = 0; j < count; j++)
					topology_add(l, order[i], order[j], false);
				break;
			case TOPOLOGY_STAR:
				topology_add(l, order[0], order[i], false);
				topology_add(l, order[i], order[0], false);
				break;
			case TOPOLOGY_RING:
				topology_add(l, order[i], order[(i + 1) % count], false);
				break;
			case TOPOLOGY_CUSTOM:
				break;
		}
	}
	pfree(order);
}

/*
 * Adds a link for each path from one member to another one that leads through removed nodes only.
 */
static void
follow_removed(TopologyLinks *l, const Topology *t, const TopologyMember *members, int n,
			   NodeId from, NodeId at, bool *followed)
{
	for (int i = 0; i < t->nlinks; i++)
	{
		if (t->providers[i] != at || followed[i])
			continue;
		followed[i] = true;
		if (topology_is_member(members, n, t->subscribers[i]))
			topology_add(l, from, t->subscribers[i], false);
		else
			follow_removed(l, t, members, n, from, t->subscribers[i], followed);
	}
}

/* Returns true if the list of a custom topology names a node. */
static bool
topology_is_listed(const Topology *t, NodeId node)
{
	for (int i = 0; i < t->nlinks; i++)
	{
		if (t->providers[i] == node || t->subscribers[i] == node)
			return true;
	}
	return false;
}

/* Adds the links of a custom topology. */
static void
add_custom(TopologyLinks *l, const Topology *t, const TopologyMember *members, int n)
{
	bool	   *followed = palloc(Max(t->nlinks, 1) * sizeof(bool));

	for (int i = 0; i < n; i++)
	{
		NodeId		node = members[i].node;
		NodeId		partner = members[i].source;

		memset(followed, 0, Max(t->nlinks, 1) * sizeof(bool));
		follow_removed(l, t, members, n, node, node, followed);
		if (topology_is_listed(t, node))
			continue;
		if (partner == node || !topology_is_member(members, n, partner))
			partner = members[0].node != node || n == 1 ? members[0].node : members[1].node;
		topology_add(l, partner, node, false);
		topology_add(l, node, partner, false);
	}
	pfree(followed);
}

TopologyLinks *
topology_links(const Topology *t, const TopologyMember *members, int n)
{
	TopologyLinks *l = topology_create(n);

	if (t->shape == TOPOLOGY_CUSTOM)
		add_custom(l, t, members, n);
	else
		add_shape(l, t, members, n);
	return l;
}

/* ---------- re-routing ---------- */

/* Returns true if a node is in a list. */
static bool
is_in(NodeId node, const NodeId *list, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (list[i] == node)
			return true;
	}
	return false;
}

/*
 * Adds links to me from the providers of a node that is down, and, where these are down as well,
 * from their providers. visited: the nodes that were examined.
 */
static void
topology_bypass(TopologyLinks *l, const TopologyLinks *before, NodeId me, NodeId lost,
				const NodeId *down, int ndown, NodeId *visited, int *nvisited)
{
	visited[(*nvisited)++] = lost;
	for (int i = 0; i < before->n; i++)
	{
		TopologyLink *k = &before->links[i];

		if (k->subscriber != lost || k->provider == me || is_in(k->provider, visited, *nvisited))
			continue;
		if (is_in(k->provider, down, ndown))
			topology_bypass(l, before, me, k->provider, down, ndown, visited, nvisited);
		else
			topology_add(l, k->provider, me, true);
	}
}

void
topology_reroute(TopologyLinks *l, NodeId me, const NodeId *down, int ndown,
				 const TopologyMember *members, int n)
{
	TopologyLinks *before = topology_create(n);
	NodeId	   *visited = palloc((n + 1) * sizeof(NodeId));
	int			nvisited = 0;

	for (int i = 0; i < l->n; i++)
		topology_add(before, l->links[i].provider, l->links[i].subscriber, false);
	for (int i = 0; i < ndown; i++)
	{
		TopologyLink *k = topology_find(l, down[i], me);

		if (k)
			topology_drop(l, k);
	}
	for (int i = 0; i < ndown; i++)
	{
		if (topology_find(before, down[i], me) && !is_in(down[i], visited, nvisited))
			topology_bypass(l, before, me, down[i], down, ndown, visited, &nvisited);
	}
}

/* ---------- routes ---------- */

/* Returns the index of a node in the list of members; -1 if it is not there. */
static int
topology_place(const TopologyMember *members, int n, NodeId node)
{
	for (int i = 0; i < n; i++)
	{
		if (members[i].node == node)
			return i;
	}
	return -1;
}

/*
 * Routes one origin, breadth first: each node takes it from the neighbour that it reaches first; of
 * neighbours at the same distance, from the one with the lowest number.
 */
static void
route_origin(TopologyLinks *l, const int *providers, const int *subscribers,
			 const TopologyMember *members, int n, NodeId origin)
{
	int		   *distance = palloc(n * sizeof(int));
	TopologyLink **best = palloc(n * sizeof(TopologyLink *));
	bool		more = true;

	for (int i = 0; i < n; i++)
		distance[i] = members[i].node == origin ? 0 : -1;
	for (int d = 0; more; d++)
	{
		memset(best, 0, n * sizeof(TopologyLink *));
		for (int k = 0; k < l->n; k++)
		{
			TopologyLink *link = &l->links[k];
			int			s = subscribers[k];

			if (s >= 0 && providers[k] >= 0 && distance[s] < 0 && distance[providers[k]] == d &&
				(!best[s] || link->provider < best[s]->provider))
				best[s] = link;
		}
		more = false;
		for (int i = 0; i < n; i++)
		{
			if (!best[i])
				continue;
			more = true;
			distance[i] = d + 1;
			if (best[i]->provider != origin)
				best[i]->full[best[i]->nfull++] = origin;
		}
	}
	pfree(best);
	pfree(distance);
}

void
topology_route(TopologyLinks *l, const TopologyMember *members, int n)
{
	int		   *providers = palloc(Max(l->n, 1) * sizeof(int));
	int		   *subscribers = palloc(Max(l->n, 1) * sizeof(int));

	for (int i = 0; i < l->n; i++)
	{
		l->links[i].full[0] = l->links[i].provider;
		l->links[i].nfull = 1;
		providers[i] = topology_place(members, n, l->links[i].provider);
		subscribers[i] = topology_place(members, n, l->links[i].subscriber);
	}
	for (int i = 0; i < n; i++)
		route_origin(l, providers, subscribers, members, n, members[i].node);
	pfree(subscribers);
	pfree(providers);
}

/* Marks the members that can be reached from one, along the links or against them. */
static void
topology_mark(const TopologyLinks *l, const TopologyMember *members, int n, int from, bool forward,
	 bool *reached)
{
	reached[from] = true;
	for (int k = 0; k < l->n; k++)
	{
		NodeId		here = forward ? l->links[k].provider : l->links[k].subscriber;
		NodeId		there = forward ? l->links[k].subscriber : l->links[k].provider;
		int			p = topology_place(members, n, there);

		if (here == members[from].node && p >= 0 && !reached[p])
			topology_mark(l, members, n, p, forward, reached);
	}
}

int
topology_unreachable(const TopologyLinks *l, const TopologyMember *members, int n,
					 NodeId *unreachable)
{
	bool	   *to = palloc0(Max(n, 1) * sizeof(bool));
	bool	   *from = palloc0(Max(n, 1) * sizeof(bool));
	int			count = 0;

	if (n > 0)
	{
		topology_mark(l, members, n, 0, true, to);
		topology_mark(l, members, n, 0, false, from);
	}
	for (int i = 0; i < n; i++)
	{
		if (!to[i] || !from[i])
			unreachable[count++] = members[i].node;
	}
	return count;
}
