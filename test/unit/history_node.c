/*
 * history_node.c
 *		One node of a random history: its WAL, rows, frontier, stable vector, group slot, tombstones.
 */
#include "postgres.h"

#include "history.h"

/* ---------- vectors ---------- */

/* How far a node has everybody's transactions, itself included. */
void
node_frontier(SimNode *x, Vec *v)
{
	*v = x->now.frontier;
	(void) frontier_raise(vec(v), x->id, x->end, sim.clock + x->skew);
}

/* Lists the numbers in a set. */
static int
list_nodes(NodeSet set, NodeId *list)
{
	int			n = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (set & BIT(i))
			list[n++] = i;
	}
	return n;
}

/* Brings the stable vector up to date (raise_stable_point()). */
static void
raise_stable(SimNode *x)
{
	StableMember members[MAX_NODES];
	NodeId		fenced[MAX_NODES][MAX_NODES];
	Vec			mine;
	int			n = 0;

	if (!x->now.has_stable)
		return;
	node_frontier(x, &mine);
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Member	   *m = &x->now.members[i];

		if (!m->known || (m->removed && BROKEN(RULE_STABLE_MINIMUM)) || (!m->ready && BROKEN(RULE_JOIN_COUNTS)))
			continue;
		members[n] = (StableMember) {
			.node = i,
			.removed = m->removed,
			.row = vec(i == x->id && BROKEN(RULE_OWN_ROW) ? &mine : m->has_row ? &m->row : &m->admission),
			.nfenced = list_nodes(m->fenced, fenced[n]),
			.fenced = fenced[n]
		};
		n++;
	}
	(void) stable_raise(vec(&x->now.stable), members, n, x->id, vec(&mine));
}

/* ---------- commits ---------- */

/* Applies a put or a delete. Returns true if it did not lose. */
static bool
write_row(SimNode *x, const Txn *t, const Op *op, EntryKind kind)
{
	Row		   *row = &x->now.rows[op->key];
	Version		v = {t->ts, t->origin};

	if (kind == ENTRY_OWN && row->present && version_cmp(row->written, v) >= 0)
		violated("CLOCK: node %d overwrites key %d of %d with an older version", x->id, op->key, row->written.node);
	if (row->present && version_cmp(v, row->version) < 0)
		return false;
	if (op->kind == OP_PUT && x->now.was_collected[op->key] && version_cmp(x->now.collected[op->key], v) > 0)
		violated("RESURRECT: node %d gets key %d written by %d at " INT64_FORMAT " after the tombstone of " INT64_FORMAT " has gone",
				 x->id, op->key, v.node, v.ts, x->now.collected[op->key].ts);
	*row = (Row) {true, op->kind == OP_PUT, v, v, op->value, x->end};
	return true;
}

/* Stores a frontier row. Returns true if it is newer. */
static bool
write_frontier(SimNode *x, const Txn *t, const Op *op)
{
	Member	   *m = &x->now.members[op->node];
	Version		v = {t->ts, t->origin};

	if (m->has_row && version_cmp(v, m->row_version) < 0)
		return false;
	m->has_row = true;
	m->row_version = v;
	m->row = *op->vector;
	m->fenced = op->fenced;
	m->view = op->view;
	return true;
}

/* Makes a node known, or known anew. */
static void
admit(SimNode *x, const Txn *t, const Op *op)
{
	Member	   *m = &x->now.members[op->node];

	m->known = true;
	m->source = t->origin;
	m->admitted_at = t->lsn;
	m->admission = *op->vector;
	if (!m->has_row)
		m->fenced = op->fenced;
}

/* Notes a removal. */
static void
remove_member(SimNode *x, const Op *op)
{
	x->now.members[op->node].removed = true;
	if (op->node == x->id)
		x->out = true;
}

/* Does what one part of a transaction says. Returns true if it did not lose. */
static bool
do_op(SimNode *x, const Txn *t, const Op *op, EntryKind kind)
{
	switch (op->kind)
	{
		case OP_PUT:
		case OP_DELETE:
			return write_row(x, t, op, kind);
		case OP_ROW:
			return write_frontier(x, t, op);
		case OP_ADMIT:
			admit(x, t, op);
			return true;
		case OP_READY:
			x->now.members[op->node].ready = true;
			return true;
		case OP_REMOVE:
			remove_member(x, op);
			return true;
		case OP_TOPOLOGY:
			if (op->setting->serial > x->now.setting->serial ||
				(op->setting->serial == x->now.setting->serial && op->setting->set_by > x->now.setting->set_by))
				x->now.setting = op->setting;
			return true;
	}
	return true;
}

/* Appends a commit to the WAL. */
static Entry *
append(SimNode *x, Txn *t, EntryKind kind)
{
	if (x->end == x->room)
	{
		x->room = x->room ? x->room * 2 : 128;
		x->wal = x->wal ? repalloc(x->wal, x->room * sizeof(Entry)) : palloc(x->room * sizeof(Entry));
	}
	x->wal[x->end] = (Entry) {t, kind, 0};
	return &x->wal[x->end++];
}

/* Commits; ops: those that are carried out (a bit each). The triggers are those of the product. */
static void
commit(SimNode *x, Txn *t, EntryKind kind, int ops)
{
	Entry	   *e;
	bool		told = false;

	for (int i = 0; i < t->nops; i++)
	{
		if ((ops & (1 << i)) && (t->ops[i].kind == OP_ADMIT || t->ops[i].kind == OP_REMOVE))
			raise_stable(x);
	}
	e = append(x, t, kind);
	for (int i = 0; i < t->nops; i++)
	{
		if (!(ops & (1 << i)) || !do_op(x, t, &t->ops[i], kind))
			continue;
		e->accepted |= 1 << i;
		told |= t->ops[i].kind == OP_ROW || t->ops[i].kind == OP_ADMIT || t->ops[i].kind == OP_REMOVE;
	}
	if (told)
		raise_stable(x);
}

/* A local transaction. */
Txn *
node_write(SimNode *x, const Op *ops, int nops, bool significant)
{
	Txn		   *t = palloc0(sizeof(Txn));

	t->origin = x->id;
	t->lsn = x->end + 1;
	t->ts = Max(sim.clock + x->skew, x->now.max_seen + 1);
	t->significant = significant;
	t->nops = nops;
	memcpy(t->ops, ops, nops * sizeof(Op));
	t->seq = x->now.seq[x->id] + 1;
	memcpy(t->saw, x->now.seq, sizeof(t->saw));
	for (NodeId i = 1; i <= MAX_NODES; i++)
		t->stable[i] = frontier_lsn(vec(&x->now.stable), i);
	x->now.max_seen = t->ts;
	commit(x, t, ENTRY_OWN, ALL_NODES);
	x->now.seq[x->id] = t->seq;
	if (significant)
		x->last_significant = x->end;
	sim.figures.transactions += significant;
	return t;
}

/* What must hold when a transaction of another node is applied. */
static void
check_apply(SimNode *x, const Txn *t, NodeId via)
{
	int			have = x->now.seq[t->origin];

	if (t->seq <= have)
		violated("TWICE: node %d applies transaction %d of node %d again, via node %d", x->id, t->seq, t->origin, via);
	if (t->seq > have + 1)
		violated("GAP: node %d applies transaction %d of node %d after %d, via node %d", x->id, t->seq, t->origin, have, via);
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (t->saw[i] > x->now.seq[i])
			violated("CAUSAL: node %d applies transaction %d of node %d, which had seen %d of node %d, via node %d; here are %d",
					 x->id, t->seq, t->origin, t->saw[i], i, via, x->now.seq[i]);
		if (x->stage == STAGE_READY && i != x->id && t->stable[i] > frontier_lsn(vec(&x->now.stable), i))
			violated("STABLE ORDER: node %d applies transaction %d of node %d, where %d of node %d was stable, via node %d",
					 x->id, t->seq, t->origin, (int) t->stable[i], i, via);
	}
}

/* True if a node is ready, and all members know. */
bool
node_is_announced(SimNode *x)
{
	for (NodeId i = 1; i <= MAX_NODES && !BROKEN(RULE_JOIN_OPEN); i++)
	{
		Member	   *m = &x->now.members[i];

		if (i != x->id && is_peer(m) && !frontier_covers(vec(m->has_row ? &m->row : &m->admission), x->id, x->ready_at))
			return false;
	}
	return x->stage == STAGE_READY;
}

/* True if a node takes local writes. */
bool
node_is_open(SimNode *x)
{
	return is_active(x) && node_is_announced(x);
}

/* Applies a transaction of another node; ops: those that the provider has forwarded. */
void
node_apply(SimNode *x, Txn *t, int ops, NodeId via)
{
	check_apply(x, t, via);
	if (!BROKEN(RULE_CLOCK))
		x->now.max_seen = Max(x->now.max_seen, t->ts);
	commit(x, t, ENTRY_FOREIGN, ops);
	(void) frontier_raise(vec(&x->now.frontier), t->origin, t->lsn, t->ts);
	x->now.seq[t->origin] = t->seq;
	if (t->significant || BROKEN(RULE_ROW_TRAFFIC))
		x->last_significant = x->end;
	SAY("  node %d applies %d of node %d (LSN %d) via node %d\n", x->id, t->seq, t->origin, (int) t->lsn, via);
}

/* ---------- crashes ---------- */

/* Makes everything survive. Returns true if something was not flushed. */
bool
node_flush(SimNode *x)
{
	if (x->flushed == x->end)
		return false;
	x->flushed = x->end;
	x->disk = x->now;
	return true;
}

/* All its connections break; what it has sent may still arrive. */
static void
break_connections(SimNode *x)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Link	   *to = &sim.links[x->id][i];

		link_drop_stream(&sim.links[i][x->id]);
		sim.links[i][x->id].demanded = 0;
		to->connected = false;
		to->slot.confirmed = to->slot.saved;
	}
}

/* True if a node knows of another's removal; late: and can still tell anybody. */
static bool
knows_removal(const SimNode *x, NodeId removed, bool late)
{
	return x->now.members[removed].removed && !(late && (x->dead || x->out || x->stage != STAGE_READY));
}

/* A removal that was lost in a crash never was, unless its node has heard of it; late: nor one that nobody can tell. */
void
node_clear_suspects(bool late)
{
	NodeSet		removed = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		bool		is_removed = sim.nodes[i].dead || sim.nodes[i].out;

		for (NodeId x = 1; x <= MAX_NODES; x++)
			is_removed |= knows_removal(&sim.nodes[x], i, late);
		removed |= is_removed ? BIT(i) : 0;
	}
	sim.suspects &= removed;
}

/* A crash of a node. */
void
node_crash(SimNode *x)
{
	sim.figures.crashes++;
	sim.figures.lost_in_crash += x->flushed < x->end;
	SAY("crash of node %d, which loses %d commits\n", x->id, (int) (x->end - x->flushed));
	x->up = false;
	x->end = x->flushed;
	x->now = x->disk;
	x->out = x->now.members[x->id].removed;
	if (x->stage == STAGE_READY && !x->now.members[x->id].ready)
		x->stage = STAGE_STREAMING; /* its row is gone, and with it that it was */
	if (BROKEN(RULE_CLOCK_RESTART))
		x->now.max_seen = 0;
	x->slot = x->slot_saved;
	x->nnotes = 0;
	x->row_written = false;
	x->last_significant = x->end;
	x->told_fenced = x->given_up = 0;
	x->leaving = false;
	break_connections(x);
	node_clear_suspects(false);
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		SimNode	   *j = &sim.nodes[i];

		/* the copy of the rows lives on the snapshot */
		if ((i == x->id || j->source == x->id) && (j->stage == STAGE_COPIED || j->stage == STAGE_ADMITTED))
			j->again = true;
	}
}

/* Its next run. */
void
node_start(SimNode *x)
{
	x->up = true;
	SAY("start of node %d\n", x->id);
}

/* ---------- the frontier row ---------- */

/* Removed nodes from which nothing is taken any more. */
NodeSet
node_fenced(SimNode *x)
{
	NodeSet		fenced = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (x->now.members[i].removed && (!sim.links[i][x->id].wanted || BROKEN(RULE_FENCE)))
			fenced |= BIT(i);
	}
	return fenced;
}

/* What links are made of: the members that are ready, and the topology (group_view()). */
static uint64
view_of(SimNode *x)
{
	uint64		view = 1 | (uint64) x->now.setting->serial << 32 | (uint64) x->now.setting->set_by << 16;

	for (NodeId i = 1; i <= MAX_NODES; i++)
		view |= is_peer(&x->now.members[i]) ? BIT(i) : 0;
	return view;
}

/* True if all members have told that they see the same. */
bool
node_view_is_common(SimNode *x)
{
	uint64		mine = view_of(x);

	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		if (i != x->id && is_peer(&x->now.members[i]) && x->now.members[i].view != mine && !BROKEN(RULE_COMMON_VIEW))
			return false;
	}
	return true;
}

/* Notes a position, and what is before it; if there is no room, every second note goes. */
static void
take_note(SimNode *x)
{
	Note	   *note;

	if (x->nnotes == MAX_NOTES)
	{
		x->nnotes = MAX_NOTES / 2;
		for (int i = 0; i < x->nnotes; i++)
			x->notes[i] = x->notes[2 * i + 1];
	}
	note = &x->notes[x->nnotes++];
	note->position = x->end;
	node_frontier(x, &note->covers);
	frontier_set_lsn(vec(&note->covers), x->id, x->end);
}

/* Takes removed nodes out of a vector: the broken rule. */
static void
forget_removed(SimNode *x, Vec *v)
{
	Vec			kept = {{0}};

	for (int i = 0; i < v->f.n; i++)
	{
		FrontierEntry *e = &v->room[i];

		if (!x->now.members[e->node].removed)
			(void) frontier_raise(vec(&kept), e->node, e->lsn, e->ts);
	}
	*v = kept;
}

/* Writes the frontier row if there is something to tell. Its content is read before its commit. */
bool
node_tell(SimNode *x, bool force)
{
	Op			op = {.kind = OP_ROW,.node = x->id};

	if (!is_active(x))
		return false;
	op.fenced = node_fenced(x);
	op.view = view_of(x);
	if (x->row_written && x->last_row >= x->last_significant && op.fenced == x->told_fenced && op.view == x->told_view && !force)
		return false;
	op.vector = palloc(sizeof(Vec));
	node_frontier(x, op.vector);
	if (BROKEN(RULE_REMOVED_KEPT))
		forget_removed(x, op.vector);
	(void) node_write(x, &op, 1, false);
	take_note(x);
	x->row_written = true;
	x->last_row = x->end;
	x->told_fenced = op.fenced;
	x->told_view = op.view;
	sim.figures.rows++;
	SAY("frontier row of node %d: %s\n", x->id, frontier_to_text(vec(op.vector)));
	return true;
}

/* ---------- the group slot ---------- */

/* How far the WAL is stable, transaction by transaction. */
static XLogRecPtr
stable_prefix(SimNode *x)
{
	XLogRecPtr	p = x->slot;

	for (; p < x->flushed; p++)
	{
		const Entry *e = &x->wal[p];
		Vec			one = {{0}};

		if (e->kind == ENTRY_REPAIR)
			continue;
		(void) frontier_raise(vec(&one), e->txn->origin, e->txn->lsn, e->txn->ts);
		if (!stable_covers(vec(&x->now.stable), vec(&one)))
			break;
	}
	return p;
}

/* How far it is by the notes (advance_group_slot()). */
static XLogRecPtr
stable_note(SimNode *x)
{
	XLogRecPtr	p = x->slot;
	int			n = 0;

	while (n < x->nnotes && stable_covers(vec(&x->now.stable), vec(&x->notes[n].covers)))
	{
		p = Max(p, x->notes[n].position);
		n++;
	}
	x->nnotes -= n;
	memmove(&x->notes[0], &x->notes[n], x->nnotes * sizeof(Note));
	return Min(p, x->flushed);
}

/* No member may lack what the group slot passes. */
static void
check_slot(SimNode *x, XLogRecPtr from, XLogRecPtr to)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		SimNode	   *y = &sim.nodes[i];

		if (y == x || y->stage != STAGE_READY || (sim.suspects & BIT(i)))
			continue;
		for (XLogRecPtr p = from; p < to; p++)
		{
			const Entry *e = &x->wal[p];

			if (e->kind != ENTRY_REPAIR && e->txn->seq > y->disk.seq[e->txn->origin])
				violated("STABLE: the group slot of node %d passes transaction %d of node %d, which node %d lacks",
						 x->id, e->txn->seq, e->txn->origin, i);
		}
	}
}

/* Moves the group slot over what is stable. Returns true if it moved. */
bool
node_advance(SimNode *x)
{
	XLogRecPtr	to;

	if (!is_active(x) || !x->slot_made)
		return false;
	(void) node_flush(x);
	to = sim.notes ? stable_note(x) : stable_prefix(x);
	if (to <= x->slot)
		return false;
	SAY("group slot of node %d moves from %d to %d: %s\n", x->id, (int) x->slot, (int) to,
		frontier_to_text(vec(&x->now.stable)));
	if (!(sim.suspects & BIT(x->id)))
		check_slot(x, x->slot, to);
	x->slot = to;
	x->now.slot_vector = x->disk.slot_vector = x->now.stable;
	sim.figures.moves++;
	return true;
}

/* ---------- tombstones ---------- */

/* Position behind which tombstones go. */
static XLogRecPtr
collect_limit(SimNode *x)
{
	XLogRecPtr	limit = x->slot;
	bool		any = false;

	if (!BROKEN(RULE_TOMBSTONES))
		return limit;
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Link	   *l = &sim.links[x->id][i];

		if (!l->slot.made || !l->wanted)
			continue;
		limit = any ? Min(limit, l->slot.confirmed) : l->slot.confirmed;
		any = true;
	}
	return any ? limit : 0;
}

/* Removes tombstones, as a repair of this node alone. */
void
node_collect(SimNode *x)
{
	XLogRecPtr	limit = collect_limit(x);
	bool		any = false;

	for (int k = 0; k < MAX_KEYS; k++)
	{
		Row		   *row = &x->now.rows[k];

		if (!row->present || row->live || row->position > limit)
			continue;
		if (!x->now.was_collected[k] || version_cmp(row->written, x->now.collected[k]) > 0)
			x->now.collected[k] = row->written;
		x->now.was_collected[k] = true;
		*row = (Row) {0};
		any = true;
		sim.figures.collected++;
		SAY("node %d forgets that key %d was deleted\n", x->id, k);
	}
	if (any)
		(void) append(x, NULL, ENTRY_REPAIR);
}
