/*
 * history_group.c
 *		Joins, losses and removals of a random history.
 */
#include "postgres.h"

#include "history.h"

/* ---------- the beginning ---------- */

/* A group of n nodes that know each other. */
void
group_start(int n, const Setting *setting)
{
	for (NodeId i = 1; i <= n; i++)
	{
		SimNode	   *x = &sim.nodes[i];

		x->id = i;
		x->stage = STAGE_READY;
		x->up = x->slot_made = x->row_written = true;
		x->now.has_stable = true;
		x->now.setting = setting;
		for (NodeId m = 1; m <= n; m++)
			x->now.members[m].known = x->now.members[m].ready = true;
		x->disk = x->now;
	}
	for (NodeId i = 1; i <= n; i++)
		(void) links_tend(&sim.nodes[i], false);
}

/* ---------- joining ---------- */

/* Adds a node to the group, with its source's frontier of this moment. */
static void
admit(SimNode *j)
{
	SimNode	   *a = &sim.nodes[j->source];
	Op			op = {.kind = OP_ADMIT,.node = j->id,.vector = palloc(sizeof(Vec))};

	op.fenced = node_fenced(a);
	node_frontier(a, op.vector);
	j->admitted_at = node_write(a, &op, 1, true)->lsn;
	j->admitted_stable = a->now.stable;
	if (!BROKEN(RULE_JOIN_FLUSH))
		(void) node_flush(a);
	SAY("node %d admits node %d at %d\n", a->id, j->id, (int) j->admitted_at);
}

/* The rows and all else, as in the source's snapshot. */
static void
copy_snapshot(SimNode *j, SimNode *a)
{
	Link	   *l = &sim.links[a->id][j->id];

	if (!BROKEN(RULE_JOIN_FLUSH))
		(void) node_flush(a);
	j->now = a->now;
	j->now.has_stable = false;
	vec(&j->now.stable)->n = 0;
	vec(&j->now.slot_vector)->n = 0;
	(void) frontier_raise(vec(&j->now.frontier), a->id, a->end, sim.clock + a->skew);
	for (int k = 0; k < MAX_KEYS; k++)
	{
		Row		   *row = &j->now.rows[k];

		row->present &= row->live;
		row->version = VERSION_OLDEST;
		row->position = 0;
	}
	j->disk = j->now;
	link_drop_stream(l);
	l->slot = (Slot) {.made = true,.confirmed = a->flushed,.saved = a->flushed};
	SAY("node %d copies node %d at %d: %s\n", j->id, a->id, (int) a->end, frontier_to_text(vec(&j->now.frontier)));
}

/* True if a node can take another one in. */
static bool
can_admit(const SimNode *j)
{
	return node_is_open(&sim.nodes[j->source]) && sim.nodes[j->source].slot_made &&
		!sim.nodes[j->source].now.members[j->id].removed;
}

/* Begins a join, or one that was interrupted anew: slot and snapshot. */
bool
group_join(NodeId id, NodeId source)
{
	SimNode	   *j = &sim.nodes[id];

	if (j->stage == STAGE_UNUSED)
		j->source = source;
	else if (!j->again || !j->up || j->dead)
		return false;
	if (!is_node(j->source) || !can_admit(j))
		return false;
	j->id = id;
	j->up = true;
	j->again = false;
	j->stage = STAGE_COPIED;
	if (BROKEN(RULE_JOIN_SNAPSHOT))
		admit(j);
	else
		copy_snapshot(j, &sim.nodes[j->source]);
	sim.figures.joins++;
	return true;
}

/* The next step: its source makes it known. */
bool
group_admit(SimNode *j)
{
	if (j->stage != STAGE_COPIED || !j->up || j->dead || j->again || !can_admit(j))
		return false;
	if (BROKEN(RULE_JOIN_SNAPSHOT))
		copy_snapshot(j, &sim.nodes[j->source]);
	else
		admit(j);
	j->stage = STAGE_ADMITTED;
	return true;
}

/* The next step: the rows are complete, its group slot is made, then there is a link. */
bool
group_open(SimNode *j)
{
	if (j->stage != STAGE_ADMITTED || !j->up || j->dead || j->again)
		return false;
	j->stage = STAGE_STREAMING;
	j->now.has_stable = true;
	j->now.stable = j->now.slot_vector = j->admitted_stable;
	j->disk = j->now;
	j->slot_made = !BROKEN(RULE_JOIN_GROUP_SLOT);
	j->slot = j->slot_saved = 0;
	return true;
}

/* True if a node that is joining has all it needs to be a member like the others. */
static bool
is_acknowledged(SimNode *j)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Member	   *m = &j->now.members[i];

		if (i == j->id || !m->known || m->removed || (!m->ready && !BROKEN(RULE_JOIN_READY_ONLY)))
			continue;
		if (!m->has_row || !frontier_covers(vec(&m->row), j->source, j->admitted_at))
			return false;
	}
	return true;
}

/* Nobody's group slot may have passed what a new member lacks. */
static void
check_ready(SimNode *j)
{
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		SimNode	   *y = &sim.nodes[i];

		if (y == j || y->stage != STAGE_READY || (sim.suspects & BIT(i)))
			continue;
		for (XLogRecPtr p = 0; p < y->slot; p++)
		{
			const Entry *e = &y->wal[p];

			if (e->kind != ENTRY_REPAIR && e->txn->origin != j->id && e->txn->seq > j->now.seq[e->txn->origin])
				violated("STABLE: node %d gets ready and lacks transaction %d of node %d, which the group slot of node %d has passed",
						 j->id, e->txn->seq, e->txn->origin, i);
		}
	}
}

/* The last step, when every ready member has acknowledged it. */
bool
group_become_ready(SimNode *j)
{
	Op			op = {.kind = OP_READY,.node = j->id};
	Member	   *m = &j->now.members[j->id];

	if (!is_running(j) || j->stage != STAGE_STREAMING || !m->known || m->admitted_at != j->admitted_at)
		return false;
	if (!BROKEN(RULE_JOIN_READY) && !is_acknowledged(j))
		return false;
	(void) node_flush(j);
	j->stage = STAGE_READY;
	if (!(sim.suspects & BIT(j->id)))
		check_ready(j);
	j->ready_at = node_write(j, &op, 1, true)->lsn;
	if (!j->slot_made)
	{
		j->slot_made = true;
		j->slot = j->slot_saved = j->end;
	}
	sim.figures.ready++;
	SAY("node %d is ready\n", j->id);
	return true;
}

/* ---------- losses and removals ---------- */

/* Number of members that are neither dead nor removed. */
static int
count_sound(void)
{
	int			n = 0;

	for (NodeId i = 1; i <= MAX_NODES; i++)
		n += node_is_announced(&sim.nodes[i]) && !(sim.suspects & BIT(i));
	return n;
}

/* True if the group can do without a node. */
static bool
can_spare(SimNode *x)
{
	return !node_is_announced(x) || (sim.suspects & BIT(x->id)) || count_sound() > 2;
}

/* A node is gone for ever; what it has sent may still arrive. */
bool
group_lose(SimNode *x)
{
	if (x->dead || x->stage == STAGE_UNUSED || !can_spare(x))
		return false;
	if (x->up)
		node_crash(x);
	x->dead = true;
	sim.suspects |= BIT(x->id);
	sim.figures.lost++;
	SAY("node %d is lost\n", x->id);
	return true;
}

/* A member removes another one, which may be alive. */
bool
group_remove(SimNode *by, SimNode *x)
{
	Op			op = {.kind = OP_REMOVE,.node = x->id};
	Member	   *m = &by->now.members[x->id];

	if (by == x || !node_is_open(by) || !m->known || m->removed || !can_spare(x))
		return false;
	sim.suspects |= BIT(x->id);
	(void) node_write(by, &op, 1, true);
	sim.figures.removals++;
	SAY("node %d removes node %d\n", by->id, x->id);
	return true;
}

/* The same in good order: only when all have, safely, what it has written. */
bool
group_leave(SimNode *by, SimNode *x)
{
	if (by == x || !node_is_open(by) || !node_is_open(x) || !can_spare(x))
		return false;
	x->leaving = true;
	for (NodeId i = 1; i <= MAX_NODES; i++)
	{
		Member	   *m = &x->now.members[i];
		SimNode	   *y = &sim.nodes[i];

		if (i == x->id || !m->known || m->removed)
			continue;
		if (!y->up || y->disk.seq[x->id] < x->now.seq[x->id])
		{
			x->leaving = false;
			return false;
		}
	}
	if (!group_remove(by, x))
		return false;
	x->promised = x->now.seq[x->id];
	return true;
}

/* Removes nodes that were joining through a removed one. */
bool
group_remove_orphans(SimNode *by)
{
	bool		any = false;

	for (NodeId i = 1; i <= MAX_NODES && node_is_open(by); i++)
	{
		Member	   *m = &by->now.members[i];

		if (m->known && !m->ready && !m->removed && by->now.members[m->source].removed)
			any |= group_remove(by, &sim.nodes[i]);
	}
	return any;
}
