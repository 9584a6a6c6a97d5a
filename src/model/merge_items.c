/*
 * merge_items.c
 *		Sets and maps: states, ops, and which writes have seen which.
 *
 * A state lists all live items, each with the version that added it (its dot). An op is about some
 * of the items: it removes those that its writer had seen, and adds items with its own version. An
 * insert (assignment) is about all items. An op does not remove what its writer had not seen, so an
 * add wins over a concurrent remove. Because delivery is causal, removed items need not be
 * remembered.
 *
 * The items that were written without ops (the "plain" register) have one version and are replaced
 * as a whole: a newer plain write replaces the items of that version.
 *
 * A heap row may stand for a stable state: every later writer has seen all its items, and writes
 * newer versions. So the items keep their order, which in the value of a set is that of (version,
 * position). Items that are live but not shown, because a newer item hides them, are then lost on
 * this node and not on others. Therefore a write that removes anything is also about all items that
 * the removal would bring to light.
 *
 *	state	version of the plain register, items (count n; n times: item, version)
 *	op		removed items, added items
 *	item	position, bytes of the key, 1 and bytes of its text, or 0 for null
 */
#include "postgres.h"

#include "utils/datum.h"

#include "model/merge_items.h"

#define ASSIGNS		0x02		/* op */

/* The state of a set or map, after reading. */
typedef struct State
{
	Version		plain;
	MergeItems	items;
} State;

/* ---------- dispatch by kind ---------- */

/* Adds the items of a value with a version, and with positions from pos on. */
static void
merge_items_split(const MergeColumn *c, Datum value, bool isnull, Version dot, uint32 pos,
				  MergeItems *items)
{
	int			first = items->n;

	if (c->kind == MERGE_SET)
		merge_set_split(c, value, isnull, items);
	else
		merge_map_split(c, value, isnull, items);
	for (int i = first; i < items->n; i++)
	{
		items->list[i].dot = dot;
		items->list[i].pos = pos++;
	}
}

/* Computes the difference between the value shown and the value written. */
static void
merge_items_diff(const MergeCall *call, MergeItems *removed, MergeItems *added)
{
	MergeItems	old = {0},
				new = {0};

	merge_items_split(call->column, call->shown->value, call->shown->isnull, VERSION_OLDEST, 0,
					  &old);
	merge_items_split(call->column, call->value, call->isnull, VERSION_OLDEST, 0, &new);
	if (call->column->kind == MERGE_SET)
		merge_set_diff(call->column, &old, &new, removed, added);
	else
		merge_map_diff(&old, &new, removed, added);
}

/* Returns for each item whether a write is about it; palloc'd. */
static bool *
merge_items_touched(const MergeColumn *c, MergeItems *items, MergeItems *removed, MergeItems *added)
{
	return c->kind == MERGE_SET ? merge_set_touched(c, items, removed, added) :
		merge_map_touched(items, removed, added);
}

/* ---------- bytes ---------- */

/* Writes items. dots: with their versions, as in states. */
static void
write_items(MergeWriter *w, const MergeItems *items, bool dots)
{
	merge_write_count(w, items->n);
	for (int i = 0; i < items->n; i++)
	{
		const MergeItem *item = &items->list[i];

		merge_write_count(w, item->pos);
		merge_write_bytes(w, item->key, item->keylen);
		merge_write_count(w, item->len >= 0);
		if (item->len >= 0)
			merge_write_bytes(w, item->data, item->len);
		if (dots)
			merge_write_version(w, item->dot);
	}
}

/* Reads the items that write_items() has written. Without versions, all get the given one. */
static void
read_items(MergeReader *r, MergeItems *items, bool dots, Version dot)
{
	int			n = merge_read_length(r);

	for (int i = 0; i < n; i++)
	{
		MergeItem	item = {.dot = dot,.len = -1};

		item.pos = (uint32) merge_read_count(r);
		item.key = merge_read_path(r, &item.keylen);
		if (merge_read_count(r))
			item.data = merge_read_text(r, &item.len);
		if (dots)
			item.dot = merge_read_version(r);
		merge_items_add(items, item);
	}
}

/* Reads the state, or makes one from the heap row. */
static void
merge_items_load(State *s, const MergeCall *call)
{
	const MergeShown *shown = call->shown;
	MergeReader r;

	*s = (State) {VERSION_OLDEST};
	if (call->state)
	{
		merge_read_state(&r, call);
		s->plain = merge_read_version(&r);
		read_items(&r, &s->items, true, VERSION_OLDEST);
		merge_read_end(&r);
	}
	else if (shown->present)
	{
		s->plain = merge_implicit_version(shown);
		merge_items_split(call->column, shown->value, shown->isnull, s->plain, 0, &s->items);
	}
}

/* Writes a state. */
static bytea *
merge_items_store(const State *s, const MergeColumn *c)
{
	MergeWriter w;

	merge_writer_init(&w);
	merge_write_version(&w, s->plain);
	write_items(&w, &s->items, true);
	return merge_writer_finish(&w, MERGE_STATE(c->kind), 0);
}

/* Returns a state, and its value, as the result. */
static void
merge_items_give(State *s, const MergeCall *call, MergeResult *result)
{
	result->state = merge_items_store(s, call->column);
	if (call->column->kind == MERGE_SET)
		result->value = merge_set_join(call->column, &s->items, &result->isnull);
	else
		result->value = merge_map_join(&s->items, &result->isnull);
}

/* Returns the value shown as the result, for a write that is not about this column. */
static void
give_unchanged(State *s, const MergeCall *call, MergeResult *result)
{
	if (!call->shown->present)
	{
		merge_items_give(s, call, result);
		return;
	}
	result->state = merge_items_store(s, call->column);
	result->value = call->shown->value;
	result->isnull = call->shown->isnull;
}

/* ---------- writes of this node ---------- */

/*
 * Removes the items that a local op is about, all of which the writer has seen. Those that its
 * vector does not cover are added to the op's list.
 */
static void
remove_own(State *s, const bool *about, const Frontier *seen, MergeWriter *op)
{
	int			kept = 0;

	for (int i = 0; i < s->items.n; i++)
	{
		Version		dot = s->items.list[i].dot;

		if (about && !about[i])
			s->items.list[kept++] = s->items.list[i];
		else if (!version_is_oldest(dot) && frontier_ts(seen, dot.node) < dot.ts)
			merge_list_version(op, dot);
	}
	s->items.n = kept;
}

/* Adds items of the running transaction after those that it has added already. */
static void
add_own(State *s, MergeItems *added)
{
	uint32		pos = 0;

	for (int i = 0; i < s->items.n; i++)
	{
		if (version_cmp(s->items.list[i].dot, VERSION_SELF) == 0)
			pos = Max(pos, s->items.list[i].pos + 1);
	}
	for (int i = 0; i < added->n; i++)
	{
		added->list[i].dot = VERSION_SELF;
		added->list[i].pos = pos++;
		merge_items_add(&s->items, added->list[i]);
	}
}

void
merge_items_local(const MergeCall *call, MergeResult *result)
{
	const MergeColumn *c = call->column;
	MergeItems	removed = {0},
				added = {0};
	MergeWriter op;
	State		s;

	merge_items_load(&s, call);
	if (call->is_insert)
		merge_items_split(c, call->value, call->isnull, VERSION_SELF, 0, &added);
	else if (call->isnull != call->shown->isnull ||
			 (!call->isnull &&
			  !datum_image_eq(call->value, call->shown->value, c->typbyval, c->typlen)))
		merge_items_diff(call, &removed, &added);
	if (!call->is_insert && removed.n == 0 && added.n == 0)
	{
		give_unchanged(&s, call, result);
		return;
	}
	merge_writer_init(&op);
	remove_own(&s, call->is_insert ? NULL : merge_items_touched(c, &s.items, &removed, &added),
			   call->seen, &op);
	add_own(&s, &added);
	write_items(&op, &removed, false);
	write_items(&op, &added, false);
	result->op = merge_writer_finish(&op, MERGE_OP(c->kind), call->is_insert ? ASSIGNS : 0);
	merge_items_give(&s, call, result);
}

/* ---------- ops and writes of other nodes ---------- */

/*
 * Returns true if the writer of an op had seen a version: the oldest version, one that its vector
 * covers, or one that it lists.
 */
static bool
has_seen(const MergeReader *op, const Frontier *seen, Version dot)
{
	if (version_is_oldest(dot) || frontier_ts(seen, dot.node) >= dot.ts)
		return true;
	for (int i = 0; i < op->nversions; i++)
	{
		if (version_cmp(op->versions[i], dot) == 0)
			return true;
	}
	return false;
}

/* Removes the items that an op is about (NULL: all) and had seen. */
static void
remove_seen(State *s, const bool *about, const MergeReader *op, const Frontier *seen)
{
	int			kept = 0;

	for (int i = 0; i < s->items.n; i++)
	{
		if ((about && !about[i]) || !has_seen(op, seen, s->items.list[i].dot))
			s->items.list[kept++] = s->items.list[i];
	}
	s->items.n = kept;
}

/*
 * Returns true if an item with the same version is there already, because the op is applied again.
 */
static bool
is_there(const MergeItems *items, const MergeItem *item)
{
	for (int i = 0; i < items->n; i++)
	{
		const MergeItem *other = &items->list[i];

		if (other->pos == item->pos && version_cmp(other->dot, item->dot) == 0 &&
			other->keylen == item->keylen && other->len == item->len &&
			memcmp(other->key, item->key, item->keylen) == 0 &&
			(item->len < 0 || memcmp(other->data, item->data, item->len) == 0))
			return true;
	}
	return false;
}

/* Adds the items of an op, unless they are there already. */
static void
add_seen(State *s, const MergeItems *added, Version version)
{
	bool		again = false;

	for (int i = 0; i < s->items.n && !again; i++)
		again = version_cmp(s->items.list[i].dot, version) == 0;
	for (int i = 0; i < added->n; i++)
	{
		if (!again || !is_there(&s->items, &added->list[i]))
			merge_items_add(&s->items, added->list[i]);
	}
}

void
merge_items_apply(const MergeCall *call, MergeReader *op, MergeResult *result)
{
	MergeItems	removed = {0},
				added = {0};
	bool	   *about = NULL;
	State		s;

	merge_items_load(&s, call);
	if (!op)
	{
		give_unchanged(&s, call, result);
		return;
	}
	read_items(op, &removed, false, VERSION_OLDEST);
	read_items(op, &added, false, call->version);
	merge_read_end(op);
	if (!(op->flags & ASSIGNS))
		about = merge_items_touched(call->column, &s.items, &removed, &added);
	remove_seen(&s, about, op, call->seen);
	add_seen(&s, &added, call->version);
	merge_items_give(&s, call, result);
}

/* Applies a write without an op. The newest of these counts, beside the ops. */
void
merge_items_plain(const MergeCall *call, MergeResult *result)
{
	int			kept = 0;
	State		s;

	merge_items_load(&s, call);
	if (version_cmp(call->version, s.plain) >= 0)
	{
		for (int i = 0; i < s.items.n; i++)
		{
			if (version_cmp(s.items.list[i].dot, s.plain) != 0)
				s.items.list[kept++] = s.items.list[i];
		}
		s.items.n = kept;
		merge_items_split(call->column, call->value, call->isnull, call->version, 0, &s.items);
		s.plain = call->version;
	}
	merge_items_give(&s, call, result);
}

bytea *
merge_items_keep(const MergeCall *call)
{
	State		s;

	merge_items_load(&s, call);
	return merge_items_store(&s, call->column);
}
