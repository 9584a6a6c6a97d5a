/*
 * history_link.c
 *		Links of a random history: what they carry, and which ones a node wants.
 */
#include "postgres.h"

#include "history.h"

/* ---------- queues ---------- */

/* A new last element. */
static void *
queue_add(Queue *q, size_t size)
{
	if (q->tail == q->room && q->head > 0)
	{
		memmove(q->items, (char *) q->items + q->head * size, (q->tail - q->head) * size);
		q->tail -= q->head;
		q->head = 0;
	}
	if (q->tail == q->room)
	{
		q->room = q->room ? q->room * 2 : 16;
		q->items = q->items ? repalloc(q->items, q->room * size) : palloc(q->room * size);
	}
	return (char *) q->items + q->tail++ * size;
}

/* The first element, or NULL. */
static void *
queue_first(Queue *q, size_t size)
{
	return q->head < q->tail ? (char *) q->items + q->head * size : NULL;
}

/* Throws everything away. */
static void
queue_clear(Queue *q)
{
	q->head = q->tail = 0;
}

/* ---------- the provider's side ---------- */

/* Sends the stubs that are held back. */
static void
send_held(Link *l)
{
	Message    *m;

	if (l->held.f.n == 0)
		return;
	m = queue_add(&l->messages, sizeof(Message));
	*m = (Message) {.end = l->held_end,.seen = palloc(sizeof(Vec))};
	*m->seen = l->held;
	frontier_clear(vec(&l->held));
	sim.figures.stubs++;
}

/* A transaction that this link does not carry: a stub in its place. */
static void
send_stub(Link *l, const Txn *t)
{
	(void) frontier_raise(vec(&l->held), t->origin, t->lsn, t->ts);
	l->held_end = l->sent;
	if (!sim.gather)
		send_held(l);
}

/* A whole transaction, as far as its rows did not lose at the provider. */
static void
send_full(Link *l, const Entry *e)
{
	Message    *m;

	if (e->accepted == 0 && e->txn->origin != l->provider && BROKEN(RULE_FORWARD_EMPTY))
		return;
	if (!BROKEN(RULE_STUB_ORDER) || e->txn->origin == l->provider)
		send_held(l);
	m = queue_add(&l->messages, sizeof(Message));
	*m = (Message) {.end = l->sent,.txn = e->txn,.ops = e->accepted};
	sim.figures.full++;
}

/* Decodes and sends some of the provider's flushed WAL. Returns true if there was any. */
bool
link_send(Link *l, int count)
{
	SimNode	   *p = &sim.nodes[l->provider];
	bool		moved = false;

	if (!l->connected || !p->up)
		return false;
	for (; count > 0 && l->sent < p->flushed; count--)
	{
		const Entry *e = &p->wal[l->sent++];

		moved = true;
		if (e->kind == ENTRY_REPAIR)
			continue;
		if (e->txn->origin != l->subscriber && (l->carries & BIT(e->txn->origin)))
			send_full(l, e);
		else
			send_stub(l, e->txn);
	}
	if (l->sent == p->flushed)
		send_held(l);
	return moved;
}

/* ---------- the subscriber's side ---------- */

/* Throws away what is under way. */
void
link_drop_stream(Link *l)
{
	l->connected = false;
	queue_clear(&l->messages);
	queue_clear(&l->passed);
	frontier_clear(vec(&l->held));
	l->waits = 0;
}

/* Begins at the confirmed position. */
static void
start_stream(Link *l)
{
	link_drop_stream(l);
	l->connected = true;
	l->sent = l->slot.confirmed;
	l->carries = l->full | l->demanded | BIT(l->provider);
}

/* Has the stream begin anew with other origins in full. */
static void
restart_stream(Link *l)
{
	if (!l->connected)
		link_drop_stream(l);
	else if (BROKEN(RULE_RESTART))
		l->carries = l->full | l->demanded | BIT(l->provider);
	else
		start_stream(l);
}

/* True if a node has what a stub stands for; otherwise the first origin that is missing. */
static bool
gate_opens(SimNode *x, Vec *seen, NodeId *missing)
{
	for (int i = 0; i < seen->f.n; i++)
	{
		FrontierEntry *e = &seen->room[i];

		if (e->node == x->id || frontier_covers(vec(&x->now.frontier), e->node, e->lsn))
			continue;
		*missing = e->node;
		return false;
	}
	return true;
}

/* A link that is held up asks for the missing origin, after a while. Returns true if it did or still will. */
static bool
demand(SimNode *x, Link *l, NodeId origin)
{
	l->waits++;
	if (BROKEN(RULE_DEMAND) || (l->demanded & BIT(origin)))
		return false;
	if (l->waits < PATIENCE && !x->now.members[origin].removed)
		return true;
	SAY("link %d -> %d asks for node %d\n", l->provider, l->subscriber, origin);
	sim.figures.demands++;
	l->demanded |= BIT(origin);
	restart_stream(l);
	return true;
}

/* A position of the stream is passed: notes what must be flushed before it is confirmed. */
static void
note_passed(SimNode *x, Link *l, XLogRecPtr remote, bool applied)
{
	Passed	   *last = l->passed.tail > l->passed.head ? (Passed *) l->passed.items + l->passed.tail - 1 : NULL;
	XLogRecPtr	local = x->end;
	Passed	   *p;

	if (BROKEN(RULE_FEEDBACK_RECEIVED))
		local = 0;
	else if (BROKEN(RULE_FEEDBACK) && !applied)
		local = last ? last->local : 0;
	p = queue_add(&l->passed, sizeof(Passed));
	*p = (Passed) {remote, local};
}

/* Works on messages. Returns true if something happened. */
bool
link_receive(Link *l, int count)
{
	SimNode	   *x = &sim.nodes[l->subscriber];
	bool		moved = false;
	Message    *m;

	if (!l->wanted || !is_running(x))
		return false;
	while (count-- > 0 && !x->out && (m = queue_first(&l->messages, sizeof(Message))) != NULL)
	{
		bool		apply = m->txn && !frontier_covers(vec(&x->now.frontier), m->txn->origin, m->txn->lsn);
		NodeId		missing;

		if (!m->txn && !gate_opens(x, m->seen, &missing) && !BROKEN(RULE_GATE))
			return demand(x, l, missing) || moved;
		if (apply)
			node_apply(x, m->txn, m->ops, l->provider);
		else
			sim.figures.covered += m->txn != NULL;
		note_passed(x, l, m->end, apply);
		l->messages.head++;
		l->waits = 0;
		moved = true;
	}
	return moved;
}

/* Confirms what is safe here. Returns true if the slot moved. */
bool
link_confirm(Link *l)
{
	SimNode	   *x = &sim.nodes[l->subscriber];
	bool		moved = false;
	Passed	   *p;

	if (!l->connected || !is_running(x))
		return false;
	while ((p = queue_first(&l->passed, sizeof(Passed))) != NULL && p->local <= x->flushed)
	{
		moved |= p->remote > l->slot.confirmed;
		l->slot.confirmed = Max(l->slot.confirmed, p->remote);
		l->passed.head++;
	}
	l->slot.has_base &= l->slot.confirmed <= l->slot.base_at;
	return moved;
}

/* True if a link is up to date. */
static bool
link_is_streaming(const Link *l)
{
	return l->connected && l->messages.head == l->messages.tail && l->held.f.n == 0 &&
		l->sent == sim.nodes[l->provider].flushed;
}

/* ---------- connecting ---------- */

/* Copies the provider's group slot (provide_slot()). */
static void
copy_slot(Link *l, SimNode *p)
{
	XLogRecPtr	from = BROKEN(RULE_SLOT_COPY) ? p->flushed : p->slot;

	l->slot = (Slot) {
		.made = true,.confirmed = from,.saved = from,.has_base = true,.base_at = from,.base = p->now.slot_vector
	};
	sim.figures.links++;
	sim.figures.copies += from > 0;
	SAY("slot for %d -> %d at %d\n", l->provider, l->subscriber, (int) from);
}

/* What the provider answers (handshake()). Returns true if it gives us our slot. */
static bool
handshake(Link *l, SimNode *p, SimNode *x)
{
	Member	   *caller = &p->now.members[x->id];

	if (l->cut || !is_running(p))
		return false;
	if (caller->removed)
	{
		(void) node_flush(p);
		x->out = true;
		SAY("node %d hears that it is removed\n", x->id);
		return false;
	}
	if (!is_active(p) || !p->row_written || !caller->known || (x->stage == STAGE_READY && !x->row_written))
		return false;
	if (!l->slot.made && p->slot_made && (caller->ready || BROKEN(RULE_JOIN_SINGLE_LINK)))
		copy_slot(l, p);
	return l->slot.made;
}

/* Connects, if the provider lets us and what its slot stands for is here. Returns true if it did. */
static bool
connect_link(Link *l, SimNode *x)
{
	NodeId		missing;

	if (l->connected || !handshake(l, &sim.nodes[l->provider], x))
		return false;
	if (l->slot.has_base && !gate_opens(x, &l->slot.base, &missing))
		return false;
	start_stream(l);
	SAY("link %d -> %d starts at %d\n", l->provider, l->subscriber, (int) l->sent);
	return true;
}

/* ---------- what is wanted ---------- */

/* The links of the group as one node sees it (planned_links()). */
TopologyLinks *
links_plan(SimNode *x, NodeSet down, TopologyMember *members, int *n)
{
	NodeId		list[MAX_NODES];
	int			ndown = 0;
	TopologyLinks *l;

	*n = 0;
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (is_peer(&x->now.members[i]))
			members[(*n)++] = (TopologyMember) {i, x->now.members[i].source};
		if (down & BIT(i))
			list[ndown++] = i;
	}
	l = topology_links(&x->now.setting->t, members, *n);
	if (ndown > 0)
		topology_reroute(l, x->id, list, ndown, members, *n);
	topology_route(l, members, *n);
	return l;
}

/* Adds the links that lead to a node to its plan. */
static void
add_plan(SimNode *x, NodeSet down)
{
	TopologyMember members[MAX_NODES];
	int			n;
	TopologyLinks *all = links_plan(x, down, members, &n);

	for (int i = 0; i < all->n; i++)
	{
		TopologyLink *l = &all->links[i];

		if (l->subscriber != x->id)
			continue;
		if (l->reroute && !(x->plan.providers & BIT(l->provider)))
			x->plan.reroutes |= BIT(l->provider);
		x->plan.providers |= BIT(l->provider);
		for (int o = 0; o < l->nfull; o++)
			x->plan.full[l->provider] |= BIT(l->full[o]);
	}
}

/* Adds nodes that are joining: what they write comes the way of their source. */
static void
add_joining(SimNode *x)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Member	   *m = &x->now.members[i];

		if (!m->known || m->ready || m->removed)
			continue;
		for (NodeId p = 1; p <= MAX_NODES; p++)
		{
			if (x->plan.full[p] & BIT(m->source))
				x->plan.full[p] |= BIT(i);
		}
		if (m->source != x->id)
			continue;
		x->plan.providers |= BIT(i);
		x->plan.joining |= BIT(i);
		x->plan.full[i] = BIT(i);
	}
}

/* The links of a node that is joining: from its source, and no other. */
static void
plan_join(SimNode *x)
{
	x->plan.providers = x->plan.joining = BIT(x->source);
	x->plan.full[x->source] = ALL_NODES;
	for (NodeId i = 1; i <= MAX_NODES && BROKEN(RULE_JOIN_SINGLE_LINK); i++)
	{
		if (i == x->source || !is_peer(&x->now.members[i]))
			continue;
		x->plan.providers |= BIT(i);
		x->plan.joining |= BIT(i);
		x->plan.full[i] = BIT(i);
	}
}

/* What a plan depends on; equal for equal plans. */
static void
plan_key(SimNode *x, uint64 *key)
{
	key[0] = (uint64) (uintptr_t) x->now.setting;
	key[1] = x->given_up;
	key[2] = x->stage;
	key[3] = 0;
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Member	   *m = &x->now.members[i];

		key[2] = key[2] << 4 | m->source;
		key[3] = key[3] << 3 | (m->known ? 4 : 0) | (m->ready ? 2 : 0) | (m->removed ? 1 : 0);
	}
}

/* Works out which links a node wants (wanted_links()). */
static void
make_plan(SimNode *x)
{
	uint64		key[4];

	plan_key(x, key);
	if (x->has_plan && memcmp(key, x->plan_key, sizeof(key)) == 0)
		return;
	memcpy(x->plan_key, key, sizeof(key));
	x->has_plan = true;
	memset(&x->plan, 0, sizeof(LinkPlan));
	if (x->stage == STAGE_STREAMING)
	{
		plan_join(x);
		return;
	}
	for (NodeSet replaced = 0, before = ALL_NODES; replaced != before;)
	{
		add_plan(x, replaced);
		before = replaced;
		replaced |= x->plan.providers & x->given_up;
	}
	add_joining(x);
}

/* ---------- tending ---------- */

/* Gives up links that are down, takes back those that are up to date. Returns true if something changed. */
static bool
judge_links(SimNode *x, bool overdue)
{
	NodeSet		before = x->given_up;
	NodeSet		judged = x->plan.providers & ~x->plan.joining;

	x->given_up = 0;
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Link	   *l = &sim.links[i][x->id];

		if (!(judged & BIT(i)))
			continue;
		if ((overdue && l->wanted && !l->connected) || ((before & BIT(i)) && !link_is_streaming(l)))
			x->given_up |= BIT(i);
	}
	if (x->given_up & ~before)
	{
		sim.figures.reroutes++;
		SAY("node %d gives up links (set %x)\n", x->id, x->given_up);
	}
	return x->given_up != before;
}

/* True if all links of the topology are up to date. */
static bool
all_well(SimNode *x)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if ((x->plan.providers & ~x->plan.joining & BIT(i)) && !link_is_streaming(&sim.links[i][x->id]))
			return false;
	}
	return true;
}

/* The product waits longer each time. */
#define MOST_FORGETS	1

/* Brings one wanted link to life, or has it carry what it should. Returns true if something happened. */
static bool
tend_link(SimNode *x, Link *l, bool forget_demands)
{
	NodeSet		full = x->plan.full[l->provider];

	l->reroute = (x->plan.reroutes & BIT(l->provider)) != 0;
	if (!l->wanted)
	{
		l->wanted = true;
		l->demanded = 0;
	}
	else if (l->full == full && !(forget_demands && l->demanded && l->forgets++ < MOST_FORGETS))
		return connect_link(l, x);
	else
	{
		SAY("link %d -> %d carries set %x from now on\n", l->provider, l->subscriber, full);
		l->demanded = 0;
		l->full = full;
		restart_stream(l);
	}
	l->full = full;
	return connect_link(l, x) || !forget_demands;
}

/* True if all links that are wanted take part, or need not be waited for. */
static bool
all_stand(SimNode *x)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if ((x->plan.providers & ~x->plan.joining & ~x->given_up & BIT(i)) && !sim.links[i][x->id].connected)
			return false;
	}
	return true;
}

/* Number of links that take part, but for those from removed nodes. */
static int
count_connected(SimNode *x)
{
	int			n = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
		n += sim.links[i][x->id].wanted && sim.links[i][x->id].connected && !x->now.members[i].removed;
	return n;
}

/* Ends links that nobody wants any more. Returns true if there were any. */
static bool
stop_unwanted(SimNode *x)
{
	bool		complete = all_stand(x);
	bool		common = node_view_is_common(x);
	int			before = count_connected(x);
	bool		stopped = false;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Link	   *l = &sim.links[i][x->id];
		bool		removed = x->now.members[i].removed;

		if (!l->wanted || (x->plan.providers & BIT(i)) || (removed && BROKEN(RULE_FENCE)) ||
			(!removed && !(complete && (common || l->reroute)) && !BROKEN(RULE_MAKE_FIRST)))
			continue;
		SAY("link %d -> %d ends\n", i, x->id);
		link_drop_stream(l);
		l->wanted = false;
		stopped = true;
	}
	if (before > 0 && !complete && count_connected(x) == 0)
		violated("CUT OFF: node %d ends its last links before those of the new topology stand", x->id);
	return stopped;
}

/* A node that is out ends the streams that others take from it, after a while. Returns true if there were any. */
static bool
cut_subscribers(SimNode *x)
{
	bool		any = false;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		any |= sim.links[x->id][i].connected;
		sim.links[x->id][i].connected = false;
	}
	return any;
}

/* A round of a node's manager; overdue: links that are down are so for long. Returns true if something happened. */
bool
links_tend(SimNode *x, bool overdue)
{
	bool		moved = false;
	bool		forget_demands;

	if (x->out && overdue)
		return cut_subscribers(x);
	if (!is_running(x) || x->stage < STAGE_STREAMING)
		return false;
	make_plan(x);
	if (x->stage == STAGE_READY && judge_links(x, overdue))
	{
		make_plan(x);
		moved = true;
	}
	forget_demands = overdue && all_well(x);
	if (BROKEN(RULE_MAKE_FIRST))
		moved |= stop_unwanted(x);
	for (NodeId i = 1; i <= MAX_NODES && !x->out; i++)
	{
		if (x->plan.providers & BIT(i))
			moved |= tend_link(x, &sim.links[i][x->id], forget_demands);
	}
	moved |= stop_unwanted(x);
	return moved;
}
