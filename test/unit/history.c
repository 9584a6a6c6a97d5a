/*
 * history.c
 *		Random histories of a group: the product's decisions on a model of the protocol (history.h).
 *
 * A history is a list of actions drawn from a seed: writes, parts of streams, crashes, cut networks,
 * topologies, joins, losses. An action that does not apply does nothing; so a part of a history is a
 * history as well, and one that violates a rule is made as short as possible before it is told. In the end
 * everything that lives is started, the network is healed as far as it must be, and the rest is worked off.
 *
 * unit_history(seed, histories, broken rule, details): with rule 'none', raises an error at the first violation. With
 * another rule the model breaks that rule, and the result is the first violation, or 'none': so we know that
 * the checks see it. With details, that is an error as well: it tells the shortened history. The n-th history of a seed is the first one of seed + n.
 */
#include "postgres.h"

#include <setjmp.h>

#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "history.h"

PG_FUNCTION_INFO_V1(unit_history);

#define MAX_ACTIONS		160
#define MAX_ROUNDS		400		/* of the end; it takes some dozens */

Sim			sim;

static sigjmp_buf violation;
static char violation_text[1024];

static const char *const rules[] = {
	[RULE_NONE] = "none",
	[RULE_GATE] = "gate",
	[RULE_FEEDBACK] = "feedback",
	[RULE_FEEDBACK_RECEIVED] = "feedback_received",
	[RULE_DEMAND] = "demand",
	[RULE_STUB_ORDER] = "stub_order",
	[RULE_FORWARD_EMPTY] = "forward_empty",
	[RULE_RESTART] = "restart",
	[RULE_SLOT_COPY] = "slot_copy",
	[RULE_STABLE_MINIMUM] = "stable_minimum",
	[RULE_OWN_ROW] = "own_row",
	[RULE_REMOVED_KEPT] = "removed_kept",
	[RULE_FENCE] = "fence",
	[RULE_JOIN_SNAPSHOT] = "join_snapshot",
	[RULE_JOIN_SINGLE_LINK] = "join_single_link",
	[RULE_JOIN_COUNTS] = "join_counts",
	[RULE_JOIN_READY] = "join_ready",
	[RULE_JOIN_READY_ONLY] = "join_ready_only",
	[RULE_JOIN_OPEN] = "join_open",
	[RULE_JOIN_GROUP_SLOT] = "join_group_slot",
	[RULE_JOIN_FLUSH] = "join_flush",
	[RULE_TOMBSTONES] = "tombstones",
	[RULE_ROW_TRAFFIC] = "row_traffic",
	[RULE_CLOCK] = "clock",
	[RULE_CLOCK_RESTART] = "clock_restart",
	[RULE_MAKE_FIRST] = "make_first",
	[RULE_COMMON_VIEW] = "common_view",
};

void
violated(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	vsnprintf(violation_text, sizeof(violation_text), fmt, args);
	va_end(args);
	siglongjmp(violation, 1);
}

/* ---------- actions ---------- */

typedef enum ActionKind
{
	ACT_WRITE,
	ACT_FLUSH,
	ACT_SEND,
	ACT_RECEIVE,
	ACT_TRANSFER,
	ACT_CONFIRM,
	ACT_SAVE_SLOTS,
	ACT_TELL,
	ACT_TELL_ONE,
	ACT_ADVANCE,
	ACT_COLLECT,
	ACT_TICK,
	ACT_PUMP,
	ACT_BEAT,
	ACT_CUT,
	ACT_HEAL,
	ACT_CRASH,
	ACT_START,
	ACT_BOUNCE,
	ACT_SKEW,
	ACT_JOIN,
	ACT_JOIN_STEP,
	ACT_LOSE,
	ACT_REMOVE,
	ACT_LEAVE,
	ACT_ORPHANS,
	ACT_TOPOLOGY,
	ACT_TEND,
	ACT_GIVE_UP,
	ACT_DROP_SLOT,
	ACT_COUNT
} ActionKind;

static const char *const action_names[] = {
	"write", "flush", "send", "receive", "transfer", "confirm", "save slots", "tell", "tell one", "advance",
	"collect", "tick", "pump", "beat", "cut", "heal", "crash", "start", "bounce", "skew", "join", "join step",
	"lose", "remove", "leave", "orphans", "topology", "tend", "give up", "drop slot"
};

StaticAssertDecl(lengthof(action_names) == ACT_COUNT, "each action has a name");

/* How often each action comes, by profile. */
static const uint8 weights[][ACT_COUNT] = {
	/*       wr  fl  se  re  tr  co sv  te t1  ad  cl ti  pu be  cu he  cr st bo sk  jo js  lo rm le or  to te gu ds */
	/* calm */
	{34, 18, 30, 36, 10, 12, 4, 8, 4, 8, 6, 6, 4, 4, 0, 0, 0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 2, 6, 0, 0},
	/* links */
	{30, 16, 24, 30, 16, 12, 4, 8, 4, 8, 4, 4, 3, 4, 10, 10, 1, 2, 1, 1, 1, 3, 0, 0, 0, 0, 8, 10, 8, 4},
	/* crashes */
	{30, 12, 20, 24, 24, 14, 6, 6, 4, 6, 4, 4, 3, 4, 2, 4, 6, 8, 8, 2, 1, 3, 0, 0, 0, 0, 2, 10, 2, 1},
	/* members */
	{30, 16, 24, 28, 16, 12, 4, 8, 6, 8, 6, 4, 4, 5, 2, 3, 2, 3, 1, 1, 5, 10, 2, 5, 1, 2, 2, 10, 2, 1},
	/* all */
	{30, 16, 24, 28, 16, 12, 4, 8, 4, 8, 4, 4, 3, 4, 4, 4, 3, 4, 2, 2, 3, 6, 1, 3, 1, 1, 3, 8, 4, 2},
	/* joins, with writes under way */
	{45, 6, 10, 20, 40, 8, 2, 6, 20, 16, 8, 6, 4, 16, 1, 2, 1, 2, 2, 1, 10, 20, 2, 3, 1, 1, 2, 14, 2, 1},
	/* losses, with writes under way */
	{60, 30, 24, 30, 14, 6, 2, 10, 10, 10, 10, 6, 4, 8, 2, 2, 1, 2, 1, 4, 1, 3, 6, 10, 1, 1, 1, 10, 2, 0},
	/* few flushes, origins by changing ways */
	{20, 16, 10, 16, 40, 20, 10, 2, 2, 2, 1, 2, 1, 2, 12, 12, 3, 6, 10, 1, 1, 2, 0, 0, 0, 0, 12, 14, 12, 3},
	/* joins at several places and topologies, the news of which get round slowly */
	{0, 0, 0, 0, 20, 0, 0, 0, 6, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 20, 40, 0, 0, 0, 0, 10, 10, 0, 0},
};

typedef struct Action
{
	uint8		kind;
	uint8		a;
	uint8		b;
	uint8		count;
	uint32		r;
} Action;

typedef struct History
{
	uint64		seed;
	int			nodes;
	bool		notes;
	bool		gather;
	uint32		shape;
	uint32		end;
	int			n;
	Action		actions[MAX_ACTIONS];
} History;

/* A number from 0 to below n. */
static int
below(pg_prng_state *prng, int n)
{
	return (int) pg_prng_uint64_range(prng, 0, n - 1);
}

/* Draws one action. */
static Action
draw_action(pg_prng_state *prng, const uint8 *weight, int total)
{
	static const uint8 counts[] = {1, 1, 2, 5, 9};
	int			left = below(prng, total);
	Action		a = {0};

	while (left >= weight[a.kind])
		left -= weight[a.kind++];
	a.a = below(prng, 120);
	a.b = below(prng, 120);
	a.count = counts[below(prng, lengthof(counts))];
	a.r = (uint32) pg_prng_uint64(prng);
	return a;
}

/* How histories of the last kind begin: two nodes are about to be ready at the same time. */
static const uint8 two_joins[] = {
	ACT_TOPOLOGY, ACT_JOIN, ACT_JOIN, ACT_JOIN_STEP, ACT_JOIN_STEP, ACT_BEAT, ACT_JOIN_STEP, ACT_JOIN_STEP, ACT_BEAT, ACT_BEAT, ACT_JOIN_STEP
};

/* Draws a history. */
static void
draw_history(History *h, uint64 seed)
{
	pg_prng_state prng;
	const uint8 *weight;
	int			total = 0;

	pg_prng_seed(&prng, seed);
	h->seed = seed;
	h->nodes = 3 + Max(below(&prng, 4) - 1, 0);
	h->notes = below(&prng, 3) == 0;
	h->gather = below(&prng, 3) == 0;
	h->shape = (uint32) pg_prng_uint64(&prng);
	h->end = (uint32) pg_prng_uint64(&prng);
	h->n = 30 + below(&prng, MAX_ACTIONS - 30);
	weight = weights[below(&prng, lengthof(weights))];
	for (int i = 0; i < ACT_COUNT; i++)
		total += weight[i];
	for (int i = 0; i < h->n; i++)
	{
		h->actions[i] = draw_action(&prng, weight, total);
		if (weight == weights[lengthof(weights) - 1] && i < lengthof(two_joins))
			h->actions[i].kind = two_joins[i];
	}
}

/* ---------- topologies ---------- */

/* A copy of links as the list of a custom topology, with one more or one less. */
static void
change_links(Topology *t, const TopologyLinks *present, const TopologyMember *members, int n, pg_prng_state *prng)
{
	NodeId	   *ends = palloc((present->n + 1) * 2 * sizeof(NodeId));
	bool		drop = below(prng, 2) == 0;
	int			which = below(prng, Max(present->n, 1));
	int			count = 0;

	for (int i = 0; i < present->n; i++)
	{
		if (drop && i == which)
			continue;
		ends[count] = present->links[i].provider;
		ends[present->n + 1 + count++] = present->links[i].subscriber;
	}
	if (!drop)
	{
		ends[count] = members[below(prng, n)].node;
		ends[present->n + 1 + count++] = members[below(prng, n)].node;
	}
	t->nlinks = count;
	t->providers = ends;
	t->subscribers = ends + present->n + 1;
}

/* The members in any order. */
static void
shuffle(Topology *t, const TopologyMember *members, int n, pg_prng_state *prng)
{
	NodeId	   *order = palloc(Max(n, 1) * sizeof(NodeId));

	for (int i = 0; i < n; i++)
	{
		int			j = below(prng, i + 1);

		order[i] = order[j];
		order[j] = members[i].node;
	}
	t->nnodes = n;
	t->nodes = order;
}

/* A random topology, or NULL if it would leave a member out. */
static Setting *
draw_setting(const TopologyLinks *present, const TopologyMember *members, int n, uint32 r)
{
	pg_prng_state prng;
	Setting    *s = palloc0(sizeof(Setting));
	NodeId		unreachable[MAX_NODES];

	pg_prng_seed(&prng, r);
	s->t.shape = present && below(&prng, 2) == 0 ? TOPOLOGY_CUSTOM : below(&prng, TOPOLOGY_CUSTOM);
	if (s->t.shape == TOPOLOGY_CUSTOM)
		change_links(&s->t, present, members, n, &prng);
	else if (s->t.shape != TOPOLOGY_ALL_TO_ALL)
		shuffle(&s->t, members, n, &prng);
	if (topology_unreachable(topology_links(&s->t, members, n), members, n, unreachable) > 0)
		return NULL;
	return s;
}

/* A member sets a topology. */
static void
set_topology(SimNode *x, uint32 r)
{
	TopologyMember members[MAX_NODES];
	int			n;
	TopologyLinks *present;
	Setting    *s;
	Op			op = {.kind = OP_TOPOLOGY};

	if (!node_is_open(x))
		return;
	present = links_plan(x, 0, members, &n);
	s = draw_setting(present, members, n, r);
	if (!s)
		return;
	s->serial = x->now.setting->serial + 1;
	s->set_by = x->id;
	op.setting = s;
	(void) node_write(x, &op, 1, true);
	sim.figures.topologies++;
	SAY("node %d sets topology %s\n", x->id, topology_shape_name(s->t.shape));
}

/* ---------- what actions do ---------- */

/* Any node that there is. */
static SimNode *
some_node(int a)
{
	int			n = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
		n += is_node(i);
	a %= n;
	for (NodeId i = 1;; i++)
	{
		if (is_node(i) && a-- == 0)
			return &sim.nodes[i];
	}
}

/* A link to a node, NULL if it has none. */
static Link *
some_link(SimNode *x, int b)
{
	Link	   *found[MAX_NODES];
	int			n = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (sim.links[i][x->id].wanted)
			found[n++] = &sim.links[i][x->id];
	}
	return n ? found[b % n] : NULL;
}

/* Adds a put or a delete, unless the transaction has one of that key. */
static void
add_op(Op *ops, int *n, OpKind kind, int key)
{
	for (int i = 0; i < *n; i++)
	{
		if (ops[i].key == key)
			return;
	}
	if (*n < MAX_OPS)
		ops[(*n)++] = (Op) {.kind = kind,.key = key,.value = ++sim.serial};
}

/* A client's transaction: puts, deletes, moves of a row to another key. */
static void
write_rows(SimNode *x, uint32 r)
{
	pg_prng_state prng;
	Op			ops[MAX_OPS];
	int			n = 0;

	if (!node_is_open(x) || x->leaving)
		return;
	pg_prng_seed(&prng, r);
	for (int count = Max(below(&prng, 5) - 1, 1); count > 0; count--)
	{
		int			what = below(&prng, 10);
		int			key = below(&prng, MAX_KEYS);
		int			to = below(&prng, MAX_KEYS);
		bool		live = x->now.rows[key].present && x->now.rows[key].live;

		if (what < 5)
			add_op(ops, &n, OP_PUT, key);
		else if (what < 8 && live)
			add_op(ops, &n, OP_DELETE, key);
		else if (live && to != key && !(x->now.rows[to].present && x->now.rows[to].live) && n + 2 <= MAX_OPS)
		{
			add_op(ops, &n, OP_DELETE, key);
			add_op(ops, &n, OP_PUT, to);
		}
	}
	if (n == 0)
		return;
	(void) node_write(x, ops, n, true);
	SAY("write %d of node %d (LSN %d)\n", x->now.seq[x->id], x->id, (int) x->end);
}

/* Slots as they are now survive a crash of their node. */
static void
save_slots(SimNode *x)
{
	x->slot_saved = x->slot;
	for (NodeId i = 1; i <= MAX_NODES; i++)
		sim.links[x->id][i].slot.saved = sim.links[x->id][i].slot.confirmed;
}

/* Exchanges what there is, between all nodes. */
static bool
pump(bool tend, bool overdue)
{
	bool		moved = false;

	for (NodeId s = 1; s <= MAX_NODES; s++)
	{
		if (is_running(&sim.nodes[s]))
			moved |= node_flush(&sim.nodes[s]);
		if (tend && is_node(s))
			moved |= links_tend(&sim.nodes[s], overdue);
	}
	for (NodeId p = 1; p <= MAX_NODES; p++)
	{
		/* what a lost node left in the network comes when it likes */
		for (NodeId s = 1; s <= MAX_NODES && is_node(p) && !sim.nodes[p].dead; s++)
		{
			Link	   *l = &sim.links[p][s];

			if (!l->wanted)
				continue;
			moved |= link_send(l, 99);
			moved |= link_receive(l, 99);
			(void) link_confirm(l);
		}
	}
	return moved;
}

/* All write their frontier rows and exchange them, then group slots move and tombstones go. */
static void
beat(int rounds, bool collect)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
		(void) node_tell(&sim.nodes[i], false);
	while (rounds-- > 0)
		(void) pump(true, false);
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		(void) node_advance(&sim.nodes[i]);
		if (collect && is_running(&sim.nodes[i]))
			node_collect(&sim.nodes[i]);
	}
}

/* A new node joins, or one that was interrupted tries again. */
static void
join(int nodes, NodeId source)
{
	for (NodeId i = 1; i <= Min(nodes + 3, MAX_NODES); i++)
	{
		if (sim.nodes[i].again && group_join(i, source))
			return;
		if (sim.nodes[i].stage == STAGE_UNUSED)
		{
			(void) group_join(i, source);
			return;
		}
	}
}

/* Nodes that are joining get on. */
static bool
join_step(SimNode *j)
{
	if (!is_node(j->id))
		return false;
	return group_admit(j) || group_open(j) || group_become_ready(j);
}

/* Both ends of a network path. */
static void
set_cut(SimNode *x, int b, bool cut)
{
	NodeId		p = some_node(b)->id;
	Link	   *l = cut ? some_link(x, b) : &sim.links[p][x->id];

	if (!l)
		return;
	if (l->cut != cut)
		SAY("network %d -> %d is %s\n", l->provider, l->subscriber, cut ? "cut" : "healed");
	l->cut = cut;
	l->connected &= !cut;
}

/* A slot that its subscriber does not use goes. */
static void
drop_slot(SimNode *x, int b)
{
	Link	   *l = &sim.links[x->id][some_node(b)->id];

	if (!x->up || l->wanted || !l->slot.made || sim.nodes[l->subscriber].stage != STAGE_READY)
		return;
	SAY("slot for %d -> %d goes\n", l->provider, l->subscriber);
	l->slot.made = false;
}

/* Actions on links. */
static void
act_on_link(const Action *a, SimNode *x)
{
	Link	   *l = some_link(x, a->b);

	if (!l)
		return;
	switch (a->kind)
	{
		case ACT_SEND:
			(void) link_send(l, a->count);
			break;
		case ACT_RECEIVE:
			(void) link_receive(l, a->count);
			break;
		case ACT_CONFIRM:
			(void) link_confirm(l);
			break;
		case ACT_TELL_ONE:
			(void) node_tell(&sim.nodes[l->provider], false);
			/* FALLTHROUGH */
		case ACT_TRANSFER:
			if (is_running(&sim.nodes[l->provider]))
				(void) node_flush(&sim.nodes[l->provider]);
			(void) link_send(l, 9);
			(void) link_receive(l, a->count);
			if (a->r % 2)
				(void) link_confirm(l);
			break;
		default:
			break;
	}
}

/* Actions on members. */
static void
act_on_group(const Action *a, SimNode *x, int nodes)
{
	SimNode	   *y = some_node(a->b);

	switch (a->kind)
	{
		case ACT_JOIN:
			join(nodes, x->id);
			break;
		case ACT_JOIN_STEP:
			for (NodeId i = 1; i <= MAX_NODES; i++)
			{
				if (join_step(&sim.nodes[i]) && a->r % 2)
					break;
			}
			break;
		case ACT_LOSE:
			(void) group_lose(x);
			break;
		case ACT_REMOVE:
			/* mostly those that are lost */
			if (y->dead || a->r % 3 == 0)
				(void) group_remove(x, y);
			break;
		case ACT_LEAVE:
			(void) group_leave(x, y);
			break;
		case ACT_ORPHANS:
			(void) group_remove_orphans(x);
			break;
		case ACT_TOPOLOGY:
			set_topology(x, a->r);
			break;
		default:
			break;
	}
}

/* Actions on one node. */
static void
act(const Action *a, int nodes)
{
	static const int skews[] = {-1000, -100, -10, 10, 100, 1000};
	SimNode	   *x = some_node(a->a);

	switch (a->kind)
	{
		case ACT_WRITE:
			write_rows(x, a->r);
			break;
		case ACT_FLUSH:
			if (is_running(x))
				(void) node_flush(x);
			break;
		case ACT_SAVE_SLOTS:
			if (x->up)
				save_slots(x);
			break;
		case ACT_TELL:
			(void) node_tell(x, a->r % 8 == 0);
			break;
		case ACT_ADVANCE:
			(void) node_advance(x);
			break;
		case ACT_COLLECT:
			if (is_running(x))
				node_collect(x);
			break;
		case ACT_TICK:
			sim.clock += 1 + a->r % 100;
			break;
		case ACT_PUMP:
			for (int i = a->r % 3; i >= 0; i--)
				(void) pump(i == 0, false);
			break;
		case ACT_BEAT:
			beat(1 + a->r % 3, a->r % 5 < 3);
			break;
		case ACT_CUT:
		case ACT_HEAL:
			set_cut(x, a->b, a->kind == ACT_CUT);
			break;
		case ACT_CRASH:
		case ACT_BOUNCE:
			if (x->up)
				node_crash(x);
			if (a->kind == ACT_CRASH)
				break;
			/* FALLTHROUGH */
		case ACT_START:
			if (!x->up && !x->dead)
				node_start(x);
			if (a->r % 2)
				(void) links_tend(x, false);
			break;
		case ACT_SKEW:
			x->skew += skews[a->r % lengthof(skews)];
			break;
		case ACT_TEND:
		case ACT_GIVE_UP:
			(void) links_tend(x, a->kind == ACT_GIVE_UP);
			break;
		case ACT_DROP_SLOT:
			drop_slot(x, a->b);
			break;
		case ACT_SEND:
		case ACT_RECEIVE:
		case ACT_CONFIRM:
		case ACT_TELL_ONE:
		case ACT_TRANSFER:
			act_on_link(a, x);
			break;
		default:
			act_on_group(a, x, nodes);
			break;
	}
}

/* ---------- the end ---------- */

/* True for a node that must be like the others in the end. */
static bool
is_sound(NodeId i)
{
	return sim.nodes[i].stage == STAGE_READY && !sim.nodes[i].dead && !sim.nodes[i].out && !(sim.suspects & BIT(i));
}

/* The sound nodes. */
static NodeSet
sound_nodes(void)
{
	NodeSet		set = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
		set |= is_sound(i) ? BIT(i) : 0;
	return set;
}

/* What is reached from one node over links that stand, forward or backward. */
static NodeSet
reached(NodeSet all, NodeId from, bool forward)
{
	NodeSet		seen = BIT(from);
	NodeSet		before;

	do
	{
		before = seen;
		for (NodeId p = 1; p <= MAX_NODES; p++)
		{
			for (NodeId s = 1; s <= MAX_NODES; s++)
			{
				if (!sim.links[p][s].connected || !(all & BIT(p)) || !(all & BIT(s)))
					continue;
				if (seen & BIT(forward ? p : s))
					seen |= BIT(forward ? s : p);
			}
		}
	} while (seen != before);
	return seen;
}

/* True if all sound nodes reach each other, and those that join their sources. */
static bool
is_connected(void)
{
	NodeSet		all = sound_nodes();
	NodeId		first = 1;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (sim.nodes[i].stage == STAGE_STREAMING && !sim.nodes[i].dead && sim.links[sim.nodes[i].source][i].cut)
			return false;
	}
	while (first < MAX_NODES && !(all & BIT(first)))
		first++;
	return all == 0 || (reached(all, first, true) == all && reached(all, first, false) == all);
}

/* Heals the network at one place if it must be. Returns true if it was healed. */
static bool
heal(pg_prng_state *prng)
{
	Link	   *cut[MAX_NODES * MAX_NODES];
	int			n = 0;

	if (is_connected())
		return false;
	for (NodeId p = 1; p <= MAX_NODES; p++)
	{
		for (NodeId s = 1; s <= MAX_NODES; s++)
		{
			if (sim.links[p][s].cut && is_node(p) && is_node(s) && !sim.nodes[p].dead && !sim.nodes[s].dead)
				cut[n++] = &sim.links[p][s];
		}
	}
	if (n == 0)
		return false;
	cut[below(prng, n)]->cut = false;
	return true;
}

/* Starts what lives, heals part of the network, lets some of what lost nodes sent arrive. */
static void
begin_end(pg_prng_state *prng)
{
	for (NodeId p = 1; p <= MAX_NODES; p++)
	{
		SimNode	   *x = &sim.nodes[p];

		if (is_node(p) && !x->up && !x->dead)
			node_start(x);
		x->leaving = false;
		for (NodeId s = 1; s <= MAX_NODES; s++)
		{
			sim.links[p][s].cut &= below(prng, 2) == 0;
			if (x->dead)
				(void) link_receive(&sim.links[p][s], below(prng, 5));
		}
	}
}

/* What lost nodes sent arrives. */
static void
deliver_late(void)
{
	for (NodeId p = 1; p <= MAX_NODES; p++)
	{
		for (NodeId s = 1; s <= MAX_NODES; s++)
		{
			if (sim.nodes[p].dead)
				(void) link_receive(&sim.links[p][s], 99);
		}
	}
}

/* Nodes that are dead, or out without anybody knowing, are removed. */
static void
remove_dead(void)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		for (NodeId by = 1; by <= MAX_NODES && (sim.nodes[i].dead || sim.nodes[i].out); by++)
		{
			if (is_sound(by) && group_remove(&sim.nodes[by], &sim.nodes[i]))
				break;
		}
	}
}

/* Lost nodes are removed; those that were joining through them, or through a removed one, give up. */
static void
remove_lost(void)
{
	node_clear_suspects(true);
	remove_dead();
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		SimNode	   *x = &sim.nodes[i];

		if (is_node(i) && x->stage != STAGE_READY && (sim.suspects & BIT(x->source)))
			(void) group_lose(x);
	}
	remove_dead();
	for (NodeId i = 1; i <= MAX_NODES; i++)
		(void) group_remove_orphans(&sim.nodes[i]);
}

/* One round of everything. Returns true if something happened. */
static bool
end_round(void)
{
	bool		moved = pump(true, true);

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		SimNode	   *x = &sim.nodes[i];

		if (!is_node(i) || x->dead)
			continue;
		moved |= (x->again && group_join(i, x->source)) || join_step(x);
		moved |= node_tell(x, false);
		if (is_running(x))
			(void) node_flush(x);
		moved |= node_advance(x);
		if (is_running(x))
			node_collect(x);
	}
	return moved;
}

/* Works everything off. */
static void
finish(uint32 r)
{
	pg_prng_state prng;
	int			step = 0;

	pg_prng_seed(&prng, r);
	SAY("the end\n");
	begin_end(&prng);
	for (int round = 0; step < 5; round++)
	{
		if (round > MAX_ROUNDS)
			violated("LIVELOCK: traffic does not die out");
		if (end_round() || heal(&prng))
			continue;
		/* nothing moves: now what comes late, removals, and rows by the slow timer */
		switch (step++)
		{
			case 0:
				deliver_late();
				break;
			case 1:
				remove_lost();
				break;
			case 2:
			case 3:
				for (NodeId i = 1; i <= MAX_NODES; i++)
					(void) node_tell(&sim.nodes[i], true);
				break;
		}
	}
}

/* ---------- checks of the end ---------- */

/* All nodes have all transactions, and know the same members. */
static void
check_complete(NodeSet all)
{
	for (NodeId x = 1; x <= MAX_NODES; x++)
	{
		SimNode	   *n = &sim.nodes[x];

		if (n->stage != STAGE_UNUSED && n->stage != STAGE_READY && !(sim.suspects & BIT(x)) && !n->dead)
			violated("STUCK: node %d never gets ready", x);
		for (NodeId y = 1; y <= MAX_NODES; y++)
		{
			for (NodeId o = 1; o <= MAX_NODES; o++)
			{
				SimNode	   *m = &sim.nodes[y];

				if ((all & BIT(x)) && sim.nodes[o].promised > n->now.seq[o])
					violated("LOST: node %d lacks transactions of node %d, which left in good order", x, o);
				if (!(all & BIT(x)) || !(all & BIT(y)))
					continue;
				if (n->now.seq[o] < m->now.seq[o])
					violated("STUCK: node %d never gets transaction %d of node %d", x, n->now.seq[o] + 1, o);
				if (is_peer(&n->now.members[o]) != is_peer(&m->now.members[o]) || n->now.setting != m->now.setting)
					violated("DIVERGE: nodes %d and %d see different members or topologies", x, y);
			}
		}
	}
}

/* A transaction by its origin and number, in the WAL of whoever has it. */
static void
greatest_writes(const SimNode *x, Version *version, int *value)
{
	for (XLogRecPtr p = 0; p < x->end; p++)
	{
		const Txn  *t = x->wal[p].txn;

		for (int i = 0; t && i < t->nops; i++)
		{
			const Op   *op = &t->ops[i];
			Version		v = {t->ts, t->origin};

			if (op->kind != OP_PUT && op->kind != OP_DELETE)
				continue;
			if (version_cmp(v, version[op->key]) < 0)
				continue;
			version[op->key] = v;
			value[op->key] = op->kind == OP_PUT ? op->value : 0;
		}
	}
}

/* All nodes have the rows with the greatest versions of all writes that any of them has. */
static void
check_rows(NodeSet all)
{
	Version		version[MAX_KEYS];
	int			value[MAX_KEYS] = {0};

	for (int k = 0; k < MAX_KEYS; k++)
		version[k] = VERSION_OLDEST;
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (all & BIT(i))
			greatest_writes(&sim.nodes[i], version, value);
	}
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		for (int k = 0; k < MAX_KEYS && (all & BIT(i)); k++)
		{
			const Row  *row = &sim.nodes[i].now.rows[k];
			int			have = row->present && row->live ? row->value : 0;

			if (have != value[k] && (all & BIT(version[k].node)))
				violated("DIVERGE: node %d has value %d for key %d, not %d", i, have, k, value[k]);
			for (NodeId j = 1; j < i; j++)
			{
				const Row  *other = &sim.nodes[j].now.rows[k];

				if ((all & BIT(j)) && have != (other->present && other->live ? other->value : 0))
					violated("DIVERGE: nodes %d and %d have different values for key %d", j, i, k);
			}
		}
	}
}

/* Group slots have passed everything but frontier rows, and no tombstone is left. */
static void
check_slots(NodeSet all)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		SimNode	   *x = &sim.nodes[i];

		if (!(all & BIT(i)))
			continue;
		for (XLogRecPtr p = x->slot; p < x->end; p++)
		{
			const Entry *e = &x->wal[p];

			if (e->txn && e->txn->significant)
				violated("STUCK: the group slot of node %d does not pass transaction %d of node %d",
						 i, e->txn->seq, e->txn->origin);
		}
		for (int k = 0; k < MAX_KEYS; k++)
		{
			if (x->now.rows[k].present && !x->now.rows[k].live)
				violated("STUCK: the tombstone of key %d stays at node %d", k, i);
		}
	}
}

/* ---------- running ---------- */

/* Carries out a history; returns its violation, or NULL. */
static const char *
run(const History *h, Rule broken, StringInfo trace, Figures *figures)
{
	TopologyMember members[MAX_NODES] = {{0}};

	memset(&sim, 0, sizeof(sim));
	sim.broken = broken;
	sim.notes = h->notes;
	sim.gather = h->gather;
	sim.clock = 1000;
	sim.trace = trace;
	for (NodeId p = 1; p <= MAX_NODES; p++)
	{
		for (NodeId s = 1; s <= MAX_NODES; s++)
		{
			sim.links[p][s].provider = p;
			sim.links[p][s].subscriber = s;
		}
		members[p - 1].node = p;
	}
	if (sigsetjmp(violation, 0))
		return violation_text;
	group_start(h->nodes, draw_setting(NULL, members, h->nodes, h->shape));
	for (int i = 0; i < h->n; i++)
		act(&h->actions[i], h->nodes);
	finish(h->end);
	check_complete(sound_nodes());
	check_rows(sound_nodes());
	check_slots(sound_nodes());
	for (int i = 0; figures && i < sizeof(Figures) / sizeof(int64); i++)
		((int64 *) figures)[i] += ((int64 *) &sim.figures)[i];
	return NULL;
}

/* True if both violations are of the same kind. */
static bool
same_kind(const char *a, const char *b)
{
	size_t		n = strcspn(a, ":");

	return strncmp(a, b, n) == 0 && b[n] == ':';
}

/* The same history without some of its actions. */
static History
without(const History *h, int from, int count)
{
	History		shorter = *h;

	count = Min(count, h->n - from);
	shorter.n = h->n - count;
	memmove(&shorter.actions[from], &h->actions[from + count], (h->n - from - count) * sizeof(Action));
	return shorter;
}

/* Takes out of a history what its violation does not need. */
static void
shorten(History *h, Rule broken, MemoryContext context)
{
	char		kind[sizeof(violation_text)];
	int			size = h->n / 2;

	strlcpy(kind, violation_text, sizeof(kind));
	while (size > 0)
	{
		bool		cut = false;

		for (int from = 0; from < h->n;)
		{
			History		shorter = without(h, from, size);
			const char *found = run(&shorter, broken, NULL, NULL);

			MemoryContextReset(context);
			if (found && same_kind(kind, found))
			{
				*h = shorter;
				cut = true;
			}
			else
				from += size;
		}
		if (!cut || size > 1)
			size /= 2;
	}
}

/* What happened in a history, in words. */
static void
describe(const History *h, Rule broken, StringInfo buf)
{
	appendStringInfo(buf, "%d nodes, group slots move by %s, stubs are %s; %d actions:", h->nodes,
					 h->notes ? "notes" : "transactions", h->gather ? "gathered" : "sent at once", h->n);
	for (int i = 0; i < h->n; i++)
		appendStringInfo(buf, "%s %s(%d,%d)", i ? "," : "", action_names[h->actions[i].kind], h->actions[i].a, h->actions[i].b);
	appendStringInfoString(buf, "\n");
	(void) run(h, broken, buf, NULL);
}

/* Reports the violation of a history as an error. */
static void
report(History *h, Rule broken, MemoryContext context)
{
	StringInfoData buf;

	shorten(h, broken, context);
	initStringInfo(&buf);
	describe(h, broken, &buf);
	ereport(ERROR,
			(errmsg("%s", violation_text),
			 errdetail("%s", buf.data),
			 errhint("Again: unit_history(" UINT64_FORMAT ", 1, '%s', true).", h->seed, rules[broken])));
}

/* The rule of a name. */
static Rule
find_rule(const char *name)
{
	for (int i = 0; i < lengthof(rules); i++)
	{
		if (strcmp(rules[i], name) == 0)
			return i;
	}
	elog(ERROR, "there is no rule \"%s\"", name);
	return RULE_NONE;
}

/* What the histories had in them. */
static char *
figures_text(const Figures *f)
{
	return psprintf("transactions " INT64_FORMAT ", frontier rows " INT64_FORMAT ", stubs " INT64_FORMAT ", full " INT64_FORMAT
					" (covered " INT64_FORMAT "), demands " INT64_FORMAT ", crashes " INT64_FORMAT " (with losses " INT64_FORMAT
					"), links " INT64_FORMAT " (from group slots that had moved " INT64_FORMAT "), reroutes " INT64_FORMAT
					", topologies " INT64_FORMAT ", joins " INT64_FORMAT " (ready " INT64_FORMAT "), lost " INT64_FORMAT
					", removals " INT64_FORMAT ", moves of group slots " INT64_FORMAT ", tombstones collected " INT64_FORMAT,
					f->transactions, f->rows, f->stubs, f->full, f->covered, f->demands, f->crashes, f->lost_in_crash,
					f->links, f->copies, f->reroutes, f->topologies, f->joins, f->ready, f->lost, f->removals, f->moves,
					f->collected);
}

/* unit_history(seed, histories, broken rule, details) → text */
Datum
unit_history(PG_FUNCTION_ARGS)
{
	uint64		seed = PG_GETARG_INT64(0);
	int			count = PG_GETARG_INT32(1);
	Rule		broken = find_rule(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "history", 0, 1024 * 1024, 8 * 1024 * 1024);
	MemoryContext old = CurrentMemoryContext;
	History		h;
	Figures		figures = {0};

	for (int i = 0; i < count; i++)
	{
		const char *found;

		CHECK_FOR_INTERRUPTS();
		draw_history(&h, seed + i);
		MemoryContextSwitchTo(context);
		found = run(&h, broken, NULL, &figures);
		MemoryContextReset(context);
		if (found && (broken == RULE_NONE || PG_GETARG_BOOL(3)))
			report(&h, broken, context);
		MemoryContextSwitchTo(old);
		if (found)
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s (seed " UINT64_FORMAT ", history %d)", found, h.seed, i + 1)));
	}
	if (broken != RULE_NONE)
		PG_RETURN_TEXT_P(cstring_to_text("none"));
	PG_RETURN_TEXT_P(cstring_to_text(figures_text(&figures)));
}
