/*
 * target_lists.c
 *		topology: which links there are, of any lists of nodes. lists: texts that we read back from our own SQL and names.
 */
#include "postgres.h"

/* the functions that read are static */
#include "control/links/link_tender.c"
#undef MAX_ORIGINS
#include "shared/origin_map.c"

#include "fuzz.h"
#include "model/topology.h"

/* ---------- topologies ---------- */

#define MOST	10

/* A list of nodes: its length, then one byte each; most of them small, some of any size. */
static int
node_list(FuzzInput *in, int most, NodeId **list)
{
	int			n = fuzz_byte(in) % (most + 1);

	*list = palloc(n * sizeof(NodeId));
	for (int i = 0; i < n; i++)
	{
		uint8		b = fuzz_byte(in);

		(*list)[i] = b < 248 ? b % 32 : (NodeId) fuzz_bytes(in, 4);
	}
	return n;
}

/* Members: sorted, each once, from 1. */
static int
member_list(FuzzInput *in, TopologyMember **members)
{
	int			n = fuzz_byte(in) % MOST;
	NodeId		node = 0;

	*members = palloc(n * sizeof(TopologyMember));
	for (int i = 0; i < n; i++)
	{
		uint8		b = fuzz_byte(in);

		node += b % 4 + 1;
		(*members)[i] = (TopologyMember) {node, b / 4 % 64};
	}
	return n;
}

static bool
run_topology(FuzzInput *in)
{
	Topology	t = {.shape = fuzz_byte(in) % (TOPOLOGY_CUSTOM + 1)};
	NodeId		me = fuzz_byte(in) % 32;
	TopologyMember *members;
	int			n = member_list(in, &members);
	NodeId	   *nodes,
			   *providers,
			   *subscribers,
			   *down,
			   *unreachable = palloc(n * sizeof(NodeId));
	int			nproviders,
				nsubscribers,
				ndown;
	TopologyLinks *l;
	TopologyShape shape;

	fuzz_check(topology_shape_from_text(topology_shape_name(t.shape), &shape) && shape == t.shape);
	t.nnodes = node_list(in, MOST, &nodes);
	nproviders = node_list(in, 2 * MOST, &providers);
	nsubscribers = node_list(in, 2 * MOST, &subscribers);
	ndown = node_list(in, MOST, &down);
	t.nodes = nodes;
	t.nlinks = Min(nproviders, nsubscribers);
	t.providers = providers;
	t.subscribers = subscribers;
	l = topology_links(&t, members, n);
	fuzz_check(l->n <= n * n);
	if (t.shape != TOPOLOGY_CUSTOM && n > 0)
		fuzz_check(topology_unreachable(l, members, n, unreachable) == 0);
	if (ndown > 0)
		topology_reroute(l, me, down, ndown, members, n);
	topology_route(l, members, n);
	for (int i = 0; i < l->n; i++)
	{
		fuzz_check(l->links[i].provider != l->links[i].subscriber);
		fuzz_check(topology_find(l, l->links[i].provider, l->links[i].subscriber) == &l->links[i]);
		fuzz_check(l->links[i].nfull >= 1 && l->links[i].nfull <= Max(n, 1));
	}
	(void) topology_unreachable(l, members, n, unreachable);
	return true;
}

static void
seeds_topology(void)
{
	fuzz_seed("all", "\0\1\4\0\0\0\0", 7);
	fuzz_seed("star", "\1\2\4\0\0\0\0\2\3\1\0\0\1\3", 14);
	fuzz_seed("ring", "\2\1\5\0\1\0\0\0\3\3\1\2\0\0\2\2\3", 17);
	fuzz_seed("custom", "\3\1\4\0\0\0\0\0\5\1\2\3\4\1\5\2\3\4\1\2\1\2", 22);
}

const FuzzTarget fuzz_topology = {"topology", NULL, run_topology, seeds_topology};

/* ---------- lists ---------- */

/* Links that are wanted, on one line, then names of origins. */
static bool
run_lists(FuzzInput *in)
{
	char	   *wanted = fuzz_line(in, '\n');

	while (in->size > 0)
	{
		char	   *name = fuzz_line(in, '\n');
		XLogRecPtr	former;
		NodeId		node = node_of_name(psprintf("replication_plugin_%u_%s", MyDatabaseId, name), &former);
		char	   *number = psprintf("%d", node);

		/* what stands for a node is its number, as we print it; where it had got, if it is a former one, comes after it */
		if (node > 0)
			fuzz_check(strcmp(former_origin_name(number, former), name) == 0 ||
					   (former == InvalidXLogRecPtr && strcmp(number, name) == 0));
		(void) node_of_name(name, &former);
	}
	(void) parse_wanted(wanted);
	return true;
}

static void
seeds_lists(void)
{
	const char *text = "1 t 0 own;2 r 1 all;3 j 0 1,2,3\n1\n42\nrepair\nrepair_copy\nclock";

	fuzz_seed_text("links", text);
}

const FuzzTarget fuzz_lists = {"lists", NULL, run_lists, seeds_lists};
