/*
 * model_tests.c
 *		Topologies and the stable vector, case by case and over random graphs.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "model/stable.h"
#include "model/topology.h"

PG_FUNCTION_INFO_V1(unit_topology);
PG_FUNCTION_INFO_V1(unit_stable);

#define MOST	9

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) \
			elog(ERROR, __VA_ARGS__); \
		checks++; \
	} while (0)

static int	checks;

/* ---------- topologies ---------- */

typedef struct Graph
{
	Topology	t;
	TopologyMember members[MOST];
	int			n;
	NodeId		nodes[MOST];
	NodeId		providers[MOST * MOST];
	NodeId		subscribers[MOST * MOST];
} Graph;

/* A random topology; some of the nodes that it names are no members, some members are not named. */
static void
draw_graph(Graph *g, pg_prng_state *prng)
{
	int			named = 1 + pg_prng_uint64_range(prng, 1, MOST - 1);

	memset(g, 0, sizeof(*g));
	for (NodeId i = 1; i <= MOST; i++)
	{
		if (pg_prng_uint64_range(prng, 0, 9) < 7 || i == 1)
			g->members[g->n++] = (TopologyMember) {i, i == 1 ? INVALID_NODE_ID : g->members[pg_prng_uint64_range(prng, 0, g->n - 1)].node};
	}
	g->t.shape = pg_prng_uint64_range(prng, TOPOLOGY_ALL_TO_ALL, TOPOLOGY_CUSTOM);
	for (int i = 0; i < named; i++)
		g->nodes[i] = i + 1;
	for (int i = named - 1; i > 0; i--)
	{
		int			j = pg_prng_uint64_range(prng, 0, i);
		NodeId		x = g->nodes[i];

		g->nodes[i] = g->nodes[j];
		g->nodes[j] = x;
	}
	g->t.nodes = g->nodes;
	g->t.nnodes = g->t.shape == TOPOLOGY_STAR || g->t.shape == TOPOLOGY_RING ? named : 0;
	g->t.providers = g->providers;
	g->t.subscribers = g->subscribers;
	for (int i = 0; g->t.shape == TOPOLOGY_CUSTOM && i < named; i++)
	{
		for (int j = 0; j < named; j++)
		{
			if (i == j || pg_prng_uint64_range(prng, 0, 9) < 6)
				continue;
			g->providers[g->t.nlinks] = i + 1;
			g->subscribers[g->t.nlinks++] = j + 1;
		}
	}
}

/* True if there is a way along the links. */
static bool
is_way(const TopologyLinks *l, NodeId from, NodeId to)
{
	uint32		seen = 1 << from;

	for (int round = 0; round < MOST; round++)
	{
		for (int i = 0; i < l->n; i++)
		{
			if (seen & (1 << l->links[i].provider))
				seen |= 1 << l->links[i].subscriber;
		}
	}
	return (seen & (1 << to)) != 0;
}

/* How many links bring an origin to a node in full. */
static int
bring(const TopologyLinks *l, NodeId origin, NodeId to)
{
	int			n = 0;

	for (int i = 0; i < l->n; i++)
	{
		for (int o = 0; l->links[i].subscriber == to && o < l->links[i].nfull; o++)
			n += l->links[i].full[o] == origin;
	}
	return n;
}

/* Every origin gets to every node exactly once wherever there is a way; who cannot be reached is named. */
static void
check_routes(const Graph *g, TopologyLinks *l)
{
	NodeId		unreachable[MOST];
	int			n = topology_unreachable(l, g->members, g->n, unreachable);

	topology_route(l, g->members, g->n);
	for (int i = 0; i < g->n; i++)
	{
		NodeId		to = g->members[i].node;
		NodeId		first = g->members[0].node;
		bool		named = false;

		for (int j = 0; j < n; j++)
			named |= unreachable[j] == to;
		CHECK(named == !(is_way(l, first, to) && is_way(l, to, first)), "node %d is %sreachable", to, named ? "" : "un");
		for (int j = 0; j < g->n; j++)
		{
			NodeId		origin = g->members[j].node;

			if (origin != to)
				CHECK(bring(l, origin, to) == (is_way(l, origin, to) ? 1 : 0), "origin %d comes to node %d %d times", origin, to, bring(l, origin, to));
		}
	}
}

/* A shape whose links are right has a way from everybody to everybody, whoever has come or gone. */
static void
check_shape(const Graph *g, const TopologyLinks *l)
{
	for (int i = 0; i < g->n && g->t.shape != TOPOLOGY_CUSTOM; i++)
	{
		for (int j = 0; j < g->n; j++)
			CHECK(is_way(l, g->members[i].node, g->members[j].node), "no way from %d to %d in shape %s",
				  g->members[i].node, g->members[j].node, topology_shape_name(g->t.shape));
	}
}

/* With some providers down, a node takes from the providers of those, as far up as needed. */
static void
check_reroute(const Graph *g, pg_prng_state *prng)
{
	NodeId		me = g->members[pg_prng_uint64_range(prng, 0, g->n - 1)].node;
	TopologyLinks *before = topology_links(&g->t, g->members, g->n);
	TopologyLinks *l = topology_links(&g->t, g->members, g->n);
	NodeId		down[MOST];
	int			ndown = 0;
	uint32		set = 0;

	for (int i = 0; i < g->n; i++)
	{
		if (g->members[i].node != me && pg_prng_uint64_range(prng, 0, 2) == 0)
		{
			set |= 1 << g->members[i].node;
			down[ndown++] = g->members[i].node;
		}
	}
	topology_reroute(l, me, down, ndown, g->members, g->n);
	for (int i = 0; i < l->n; i++)
	{
		TopologyLink *k = &l->links[i];

		if (k->subscriber == me)
			CHECK(!(set & (1 << k->provider)), "node %d still takes from %d, which is down", me, k->provider);
		else
			CHECK(topology_find(before, k->provider, k->subscriber) && !k->reroute, "a link of others has changed");
	}
	/* whoever is up and had a way to me through nodes that are down only, or directly, has one */
	for (int i = 0; i < before->n; i++)
	{
		if (before->links[i].subscriber == me && !(set & (1 << before->links[i].provider)))
			CHECK(topology_find(l, before->links[i].provider, me), "node %d has lost its link from %d", me, before->links[i].provider);
		if (before->links[i].subscriber == me && (set & (1 << before->links[i].provider)))
		{
			for (int j = 0; j < before->n; j++)
			{
				TopologyLink *k = &before->links[j];

				if (k->subscriber == before->links[i].provider && k->provider != me && !(set & (1 << k->provider)))
					CHECK(topology_find(l, k->provider, me), "node %d does not take from %d in the place of %d", me, k->provider, k->subscriber);
			}
		}
	}
}

/* unit_topology(seed, count) → checks that were made */
Datum
unit_topology(PG_FUNCTION_ARGS)
{
	pg_prng_state prng;

	checks = 0;
	pg_prng_seed(&prng, PG_GETARG_INT64(0));
	for (int i = 0; i < PG_GETARG_INT32(1); i++)
	{
		Graph		g;
		TopologyLinks *l;

		draw_graph(&g, &prng);
		l = topology_links(&g.t, g.members, g.n);
		check_shape(&g, l);
		check_routes(&g, l);
		check_reroute(&g, &prng);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_INT32(checks);
}

/* ---------- the stable vector ---------- */

/* Raises the vector and compares. */
static void
expect(const char *expected, Frontier *stable, const StableMember *members, int n, NodeId me, const char *mine)
{
	char	   *got;

	(void) stable_raise(stable, members, n, me, frontier_from_text(mine));
	got = frontier_to_text(stable);
	CHECK(strcmp(got, expected) == 0, "the stable vector is \"%s\", not \"%s\"", got, expected);
}

/* unit_stable() → checks that were made */
Datum
unit_stable(PG_FUNCTION_ARGS)
{
	Frontier   *s = frontier_create();
	NodeId		three[] = {3};
	StableMember m[4] = {
		{.node = 1,.row = frontier_from_text("1:0/20:100,2:0/10:50,3:0/5:30")},
		{.node = 2,.row = frontier_from_text("1:0/10:60,2:0/30:90,3:0/8:40")},
		{.node = 3,.row = frontier_from_text("1:0/18:80,2:0/12:70,3:0/9:45")}};
	const char *mine = "1:0/40:200,2:0/30:90,3:0/5:30";

	checks = 0;
	/* the minimum of all rows; an origin that a member lacks is not stable */
	expect("1:0/10:60,2:0/10:50,3:0/5:30", s, m, 3, 1, mine);
	m[0].row = frontier_from_text("2:0/2:2");
	expect("1:0/10:60,2:0/10:50,3:0/5:30", s, m, 3, 1, mine);	/* never falls */
	m[0].row = frontier_from_text("1:0/40:200,2:0/30:90,3:0/8:40");
	expect("1:0/10:60,2:0/12:70,3:0/8:40", s, m, 3, 1, "1:0/40:200,2:0/30:90,3:0/8:40");
	/* a removed node counts until all others are cut off from it ... */
	m[2].removed = true;
	CHECK(!stable_removal_finished(m, 3, 1, frontier_from_text("3:0/8:40"), 3), "nobody is cut off yet");
	m[0].fenced = m[1].fenced = three;
	m[0].nfenced = 1;
	CHECK(!stable_removal_finished(m, 3, 1, frontier_from_text("3:0/8:40"), 3), "node 2 is not cut off yet");
	m[1].nfenced = 1;
	/* ... and this one has what any of them has of it */
	CHECK(!stable_removal_finished(m, 3, 1, frontier_from_text("3:0/7:35"), 3), "node 2 has more of node 3");
	CHECK(stable_removal_finished(m, 3, 1, frontier_from_text("3:0/8:40"), 3), "all is here");
	m[1].row = frontier_from_text("1:0/40:200,2:0/30:90,3:0/8:40");
	expect("1:0/40:200,2:0/30:90,3:0/8:40", s, m, 3, 1, "1:0/40:200,2:0/30:90,3:0/8:40");
	/* a member that is removed as well need not be cut off, if the others are from it */
	m[3] = (StableMember) {.node = 4,.removed = true,.row = frontier_from_text("3:0/8:40")};
	CHECK(!stable_removal_finished(m, 4, 1, frontier_from_text("3:0/8:40"), 3), "node 4 could still get more");
	m[0].fenced = m[1].fenced = (NodeId[]) {3, 4};
	m[0].nfenced = m[1].nfenced = 2;
	CHECK(stable_removal_finished(m, 4, 1, frontier_from_text("3:0/8:40"), 3), "node 4 can get nothing any more");
	/* one that is out itself is told nothing any more */
	m[0].removed = true;
	CHECK(!stable_removal_finished(m, 4, 1, frontier_from_text("3:0/8:40"), 3), "who is out cannot know");
	CHECK(stable_covers(s, frontier_from_text("1:0/40:1,3:0/1:1")) && !stable_covers(s, frontier_from_text("1:0/41:1")) &&
		  !stable_covers(s, frontier_from_text("5:0/1:1")), "what a vector covers");
	PG_RETURN_INT32(checks);
}
