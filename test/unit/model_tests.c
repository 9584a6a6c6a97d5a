/*
 * model_tests.c
 *		Topologies and the stable vector, case by case and over random graphs.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "model/stable.h"
#include "model/topology.h"

PG_FUNCTION_INFO_V1(unit_shapes);
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

/* ---------- shapes, case by case ---------- */

/* The links by their ends, "1>2 2>3": what each carries besides its provider's own in brackets, "*" if it stands in for another. */
static char *
links_text(const TopologyLinks *l)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (NodeId p = 1; p <= MOST; p++)
	{
		for (NodeId s = 1; s <= MOST; s++)
		{
			const TopologyLink *k = topology_find(l, p, s);

			if (!k)
				continue;
			appendStringInfo(&buf, "%s%d>%d%s", buf.len ? " " : "", p, s, k->reroute ? "*" : "");
			for (int i = 1; i < k->nfull; i++)
				appendStringInfo(&buf, "%s%d%s", i == 1 ? "(" : ",", k->full[i], i == k->nfull - 1 ? ")" : "");
		}
	}
	return buf.data;
}

/* Compares the links of a topology; down: what node 1 cannot reach. */
static void
expect_links(const char *expected, const Topology *t, const TopologyMember *members, int n, const NodeId *down, int ndown)
{
	TopologyLinks *l = topology_links(t, members, n);
	char	   *got;

	if (ndown > 0)
		topology_reroute(l, 1, down, ndown, members, n);
	topology_route(l, members, n);
	got = links_text(l);
	CHECK(strcmp(got, expected) == 0, "the links of %s are \"%s\", not \"%s\"", topology_shape_name(t->shape), got, expected);
}

/* unit_shapes() → checks that were made */
Datum
unit_shapes(PG_FUNCTION_ARGS)
{
	TopologyMember m[] = {{1, INVALID_NODE_ID}, {2, 1}, {3, 1}, {4, 3}};
	TopologyMember without_2[] = {{1, INVALID_NODE_ID}, {3, 1}, {4, 3}};
	NodeId		order[] = {3, 1, 2};
	NodeId		ring[] = {1, 2, 3, 4};
	NodeId		path_from[] = {1, 2, 2, 3};
	NodeId		path_to[] = {2, 1, 3, 2};
	NodeId		down[] = {4, 3};
	NodeId		unreachable[4];
	Topology	all = {.shape = TOPOLOGY_ALL_TO_ALL};
	Topology	star = {.shape = TOPOLOGY_STAR,.nnodes = 3,.nodes = order};
	Topology	circle = {.shape = TOPOLOGY_RING,.nnodes = 4,.nodes = ring};
	Topology	path = {.shape = TOPOLOGY_CUSTOM,.nlinks = 4,.providers = path_from,.subscribers = path_to};
	Topology	one_way = {.shape = TOPOLOGY_CUSTOM,.nlinks = 3,.providers = path_from,.subscribers = path_to};
	TopologyShape shape;

	checks = 0;
	for (int i = TOPOLOGY_ALL_TO_ALL; i <= TOPOLOGY_CUSTOM; i++)
		CHECK(topology_shape_from_text(topology_shape_name(i), &shape) && shape == i, "name of shape %d", i);
	CHECK(!topology_shape_from_text("cube", &shape), "there is no cube");

	expect_links("", &all, m, 1, NULL, 0);
	expect_links("1>2 1>3 2>1 2>3 3>1 3>2", &all, m, 3, NULL, 0);
	/* a hub; node 4 is not named and becomes a leaf; without the hub the next one named is it */
	expect_links("1>3 2>3 3>1(2,4) 3>2(1,4) 3>4(1,2) 4>3", &star, m, 4, NULL, 0);
	expect_links("1>2(4) 1>4(2) 2>1 4>1", &star, (TopologyMember[]) {{1, 0}, {2, 1}, {4, 1}}, 3, NULL, 0);
	/* each from the one before it, also when one in between is gone */
	expect_links("1>2(3,4) 2>3(1,4) 3>4(1,2) 4>1(2,3)", &circle, m, 4, NULL, 0);
	expect_links("1>3(4) 3>4(1) 4>1(3)", &circle, without_2, 3, NULL, 0);
	/* node 4 is not named and is linked to its source; where node 2 is gone its neighbours are linked */
	expect_links("1>2 2>1(3,4) 2>3(1) 3>2(4) 3>4(1,2) 4>3", &path, m, 4, NULL, 0);
	expect_links("1>3 3>1(4) 3>4(1) 4>3", &path, without_2, 3, NULL, 0);
	/* node 1 takes from the provider of its provider, and where that is down as well, from the one before */
	expect_links("1>2(3) 2>3(1) 3>1*(2) 3>4(1,2)", &circle, m, 4, down, 1);
	expect_links("1>2 2>1* 2>3(1) 3>4(1,2)", &circle, m, 4, down, 2);
	expect_links("1>2 1>3 2>1(3) 2>3 3>2", &all, m, 3, down, 2);

	/* who has no way in or no way out is named */
	CHECK(topology_unreachable(topology_links(&path, m, 4), m, 4, unreachable) == 0, "all are reached");
	CHECK(topology_unreachable(topology_links(&one_way, m, 4), m, 4, unreachable) == 2 && unreachable[0] == 3 && unreachable[1] == 4,
		  "nodes 3 and 4 have no way out");
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
	StableMember m[5] = {
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
	/* node 5 is cut off from node 3, but not from node 4, and others still take from it: 3 > 4 > 5 > 2 */
	m[4] = (StableMember) {.node = 5,.removed = true,.row = frontier_from_text("3:0/8:40"),.nfenced = 1,.fenced = three};
	CHECK(!stable_removal_finished(m, 5, 1, frontier_from_text("3:0/8:40"), 3), "node 2 could still get more through node 5");
	m[0].fenced = m[1].fenced = (NodeId[]) {3, 4, 5};
	m[0].nfenced = m[1].nfenced = 3;
	CHECK(stable_removal_finished(m, 5, 1, frontier_from_text("3:0/8:40"), 3), "nothing comes through node 5 any more");
	/* one that is out itself is told nothing any more */
	m[0].removed = true;
	CHECK(!stable_removal_finished(m, 4, 1, frontier_from_text("3:0/8:40"), 3), "who is out cannot know");
	CHECK(stable_covers(s, frontier_from_text("1:0/40:1,3:0/1:1")) && !stable_covers(s, frontier_from_text("1:0/41:1")) &&
		  !stable_covers(s, frontier_from_text("5:0/1:1")), "what a vector covers");
	PG_RETURN_INT32(checks);
}
