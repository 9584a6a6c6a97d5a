/*
 * merge_counter.c
 *		Counters: the increments of concurrent updates are added up.
 *
 * A state has a base (the newest assignment: its version, its value, and the increments that it has
 * seen) and entries. An entry is a run of increments by one node: (node, version of the first,
 * number, total). An entry only grows, and only by its own node. The value shown is the base's
 * value plus what the base has not seen of each entry.
 *
 * An insert assigns, even if the row existed before. It names all entries that its node knows, with
 * their totals; concurrent increments of other nodes are added on top. An update from or to NULL,
 * NaN or infinity, where there is no difference to send, assigns as well. Any other update sends
 * the difference to the value shown. NULL plus increments counts as 0.
 *
 * Entries must outlive the row: its states are dropped only when the delete and all increments are
 * stable. After that, a node may insert without naming an entry that other nodes still have.
 * Therefore:
 *
 * - If an arriving insert does not name an entry, but its vector covers the first increment of that
 *   entry, the insert has seen the whole entry. see_unnamed() notes that at once, so the base need
 *   not keep the vector. Entries that arrive later are new to the insert, because delivery is
 *   causal.
 * - Such an entry must not grow any more. So a node closes its entry when the row is deleted
 *   (merge_keep()) and starts another one afterwards. The proof that this suffices is in
 *   docs/protocol.md, Counters.
 * - For an entry to be stable, its last increment must be stable, not only the first: a node that
 *   has not seen the last one may still insert and name a smaller total.
 *
 * While the row is live and has entries, the state stays: a node that had added the entries to the
 * base could not name them later. But entries of earlier lives of the row can be removed one by one
 * (merge_state_trim()). A node also closes its entry when an assignment arrives that has seen the
 * entry. Once that assignment is stable and is the base, and has seen the whole of the entry, the
 * entry is complete: the increments that its node made before the assignment reached it have
 * arrived here as well.
 *
 * An entry that begins in the middle (on a node that has the row, but not the state) counts from
 * that point: earlier increments are in the value from which the node started.
 *
 *	state	version and number (unless NULL) of the base, parts it has seen,
 *			entries (part, version of the last, u8 closed)
 *	op		increment: version of the entry, its number of increments, difference, total;
 *			assignment: number (unless NULL), parts
 *	parts	see merge_parts.h
 */
#include "postgres.h"

#include "model/merge_kinds.h"
#include "model/merge_number.h"
#include "model/merge_parts.h"

#define BASE_NULL	0x01		/* in a state or an op: the assigned value is NULL */
#define ASSIGNS		0x02		/* op */

/* The state of a counter, after reading. */
typedef struct Counter
{
	Version		version;
	Numeric		value;			/* NULL for SQL NULL */
	MergeParts	seen;
	MergeParts	entries;
} Counter;

/* ---------- states ---------- */

/* Reads the state, or makes one from the heap row. */
static void
merge_counter_load(Counter *k, const MergeCall *call)
{
	const MergeShown *shown = call->shown;
	MergeReader r;

	*k = (Counter) {merge_implicit_version(shown)};
	if (!call->state)
	{
		if (shown->present)
			k->value = merge_number_of(call->column, shown->value, shown->isnull);
		return;
	}
	merge_read_state(&r, call);
	k->version = merge_read_version(&r);
	if (!(r.flags & BASE_NULL))
		k->value = merge_read_numeric(&r);
	merge_parts_read(&r, &k->seen, false);
	merge_parts_read(&r, &k->entries, true);
	merge_read_end(&r);
}

/* Writes a state. */
static bytea *
merge_counter_store(const Counter *k)
{
	MergeWriter w;

	merge_writer_init(&w);
	merge_write_version(&w, k->version);
	if (k->value)
		merge_write_numeric(&w, k->value);
	merge_parts_write(&w, &k->seen, false);
	merge_parts_write(&w, &k->entries, true);
	return merge_writer_finish(&w, MERGE_STATE(MERGE_COUNTER),
							   (k->value ? 0 : BASE_NULL) |
								   (k->entries.n > 0 ? MERGE_HAS_TOTALS : 0));
}

/*
 * Computes the value that a state shows. Entries that the base has seen whole are left out, so that
 * the number of their digits has no influence where they are unknown.
 */
static void
merge_counter_show(const Counter *k, const MergeColumn *c, MergeResult *result)
{
	Numeric		sum = k->value;

	for (int i = 0; i < k->entries.n; i++)
	{
		const MergePart *e = &k->entries.list[i];
		const MergePart *seen = merge_parts_find(&k->seen, e->node, e->born);
		Numeric		rest;

		if (seen && seen->seq >= e->seq)
			continue;
		rest = seen ? merge_number_subtract(e->total, seen->total) : e->total;
		sum = sum ? merge_number_add(sum, rest) : rest;
	}
	result->isnull = sum == NULL;
	result->clamped = false;
	if (!sum)
		return;
	result->value = merge_number_to_value(c, sum, &result->clamped);
}

/* Returns a state, and the value to show, as the result. */
static void
merge_counter_give(const Counter *k, const MergeCall *call, MergeResult *result)
{
	result->state = merge_counter_store(k);
	if (call->state || !call->shown->present)
		merge_counter_show(k, call->column, result);
	else
	{
		result->value = call->shown->value;
		result->isnull = call->shown->isnull;
	}
}

/* ---------- writes of this node ---------- */

/*
 * Returns the node's entry that is growing, made if there is none. An entry that began in the
 * running transaction is opened again: a second one could not be told from it, and no node sees, or
 * forgets, part of a transaction.
 */
static MergePart *
open_entry(Counter *k, NodeId me)
{
	for (int i = 0; i < k->entries.n; i++)
	{
		MergePart  *e = &k->entries.list[i];

		if (e->node == me && (!e->closed || version_cmp(e->born, VERSION_SELF) == 0))
		{
			e->closed = false;
			return e;
		}
	}
	return merge_parts_append(&k->entries, (MergePart) {me, VERSION_SELF, 0, int64_to_numeric(0)});
}

/* Adds a difference to the node's entry. Returns the op. */
static bytea *
merge_counter_increment(Counter *k, NodeId me, Numeric delta)
{
	MergePart  *e = open_entry(k, me);
	MergeWriter w;

	e->total = merge_number_add(e->total, delta);
	e->seq++;
	e->last = VERSION_SELF;
	merge_writer_init(&w);
	merge_write_version(&w, e->born);
	merge_write_count(&w, e->seq);
	merge_write_numeric(&w, delta);
	merge_write_numeric(&w, e->total);
	return merge_writer_finish(&w, MERGE_OP(MERGE_COUNTER), 0);
}

/* Replaces the base by one that has seen all entries, and closes these. Returns the op. */
static bytea *
merge_counter_assign(Counter *k, Numeric value)
{
	MergeWriter w;

	k->version = VERSION_SELF;
	k->value = value;
	k->seen = (MergeParts) {0};
	for (int i = 0; i < k->entries.n; i++)
	{
		k->entries.list[i].closed = true;
		merge_parts_append(&k->seen, k->entries.list[i]);
	}
	merge_writer_init(&w);
	if (value)
		merge_write_numeric(&w, value);
	merge_parts_write(&w, &k->seen, false);
	return merge_writer_finish(&w, MERGE_OP(MERGE_COUNTER), ASSIGNS | (value ? 0 : BASE_NULL));
}

void
merge_counter_local(const MergeCall *call, MergeResult *result)
{
	const MergeShown *shown = call->shown;
	Numeric			  old =
		  shown->present ? merge_number_of(call->column, shown->value, shown->isnull) : NULL;
	Numeric		new = merge_number_of(call->column, call->value, call->isnull);
	Counter		k;

	merge_counter_load(&k, call);
	if (call->is_insert)
		result->op = merge_counter_assign(&k, new);
	else if ((!old && !new) || (old && new && merge_number_compare(old, new) == 0))
	{
		merge_counter_give(&k, call, result);
		return;
	}
	else if (!old || !new || merge_number_is_special(old) || merge_number_is_special(new))
		result->op = merge_counter_assign(&k, new);
	else
		result->op = merge_counter_increment(&k, call->me, merge_number_subtract(new, old));
	result->state = merge_counter_store(&k);
	merge_counter_show(&k, call->column, result);
}

/* ---------- ops and writes of other nodes ---------- */

/* Returns true if a vector covers a version. */
static inline bool
is_covered(const Frontier *f, Version v)
{
	return version_is_oldest(v) || frontier_ts(f, v.node) >= v.ts;
}

/*
 * Adds the entries that an arriving assignment has seen whole to those that it names. Closes all
 * entries that it has seen. See the file header.
 */
static void
see_unnamed(Counter *k, MergeParts *named, const Frontier *seen)
{
	for (int i = 0; i < k->entries.n; i++)
	{
		MergePart  *e = &k->entries.list[i];

		if (merge_parts_find(named, e->node, e->born))
			e->closed = true;
		else if (is_covered(seen, e->born))
		{
			merge_parts_append(named, *e);
			e->closed = true;
		}
	}
}

/* Applies an increment. Its total replaces an earlier one. */
static void
apply_increment(Counter *k, const MergeCall *call, MergeReader *op)
{
	NodeId		node = call->version.node;
	Version		born = merge_read_version(op);
	uint64		seq = merge_read_count(op);
	Numeric		delta = merge_read_numeric(op);
	Numeric		total = merge_read_numeric(op);
	MergePart  *e = merge_parts_find(&k->entries, node, born);

	merge_read_end(op);
	if (e && e->seq >= seq)
		return;
	if (!e)
	{
		e = merge_parts_append(&k->entries, (MergePart) {node, born});
		if (seq > 1 && !merge_parts_find(&k->seen, node, born))
			merge_parts_append(&k->seen, (MergePart){node, born, seq - 1,
													 merge_number_subtract(total, delta)});
	}
	e->seq = seq;
	e->total = total;
	e->last = call->version;
}

/*
 * Applies an assignment. The newest becomes the base; of the assignments of one transaction, the
 * last.
 */
static void
apply_assignment(Counter *k, const MergeCall *call, MergeReader *op)
{
	Numeric		value = op->flags & BASE_NULL ? NULL : merge_read_numeric(op);
	MergeParts	seen;

	merge_parts_read(op, &seen, false);
	merge_read_end(op);
	see_unnamed(k, &seen, call->seen);
	if (version_cmp(call->version, k->version) < 0)
		return;
	k->version = call->version;
	k->value = value;
	k->seen = seen;
}

void
merge_counter_apply(const MergeCall *call, MergeReader *op, MergeResult *result)
{
	Counter		k;

	merge_counter_load(&k, call);
	if (!op)
	{
		merge_counter_give(&k, call, result);
		return;
	}
	if (op->flags & ASSIGNS)
		apply_assignment(&k, call, op);
	else
		apply_increment(&k, call, op);
	result->state = merge_counter_store(&k);
	merge_counter_show(&k, call->column, result);
}

/* Applies a write without an op: it assigns, and has seen no increment. */
void
merge_counter_plain(const MergeCall *call, MergeResult *result)
{
	Counter		k;

	merge_counter_load(&k, call);
	if (version_cmp(call->version, k.version) >= 0)
	{
		k.version = call->version;
		k.value = merge_number_of(call->column, call->value, call->isnull);
		k.seen = (MergeParts) {0};
	}
	result->state = merge_counter_store(&k);
	merge_counter_show(&k, call->column, result);
}

bytea *
merge_counter_keep(const MergeCall *call)
{
	Counter		k;

	merge_counter_load(&k, call);
	for (int i = 0; i < k.entries.n; i++)
		k.entries.list[i].closed = true;
	return merge_counter_store(&k);
}

/*
 * Removes complete entries: those that a stable base has seen whole, up to a stable last increment.
 * No node adds to them, or will need them.
 */
bytea *
merge_counter_trim(const MergeCall *call)
{
	MergeParts	seen = {0},
				entries = {0};
	Counter		k;

	merge_counter_load(&k, call);
	if (!is_covered(call->seen, k.version))
		return call->state;
	for (int i = 0; i < k.entries.n; i++)
	{
		const MergePart *e = &k.entries.list[i];
		const MergePart *part = merge_parts_find(&k.seen, e->node, e->born);

		if (part && part->seq >= e->seq && is_covered(call->seen, e->last))
			continue;
		merge_parts_append(&entries, *e);
		if (part)
			merge_parts_append(&seen, *part);
	}
	k.entries = entries;
	k.seen = seen;
	return merge_counter_store(&k);
}
