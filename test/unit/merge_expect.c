/*
 * merge_expect.c
 *		What a merged column should show, computed from the writes and from what each of them had really seen.
 *
 * Nothing of the product's code is used, and no state: every answer starts from all writes anew.
 */
#include "postgres.h"

#include "merge_history.h"

/* A write, with its place. */
typedef struct Event
{
	const Txn  *txn;
	int			index;			/* in its transaction */
	const Write *w;
} Event;

typedef struct Events
{
	int			n;
	Event		list[MOST_NODES * MOST_TXNS];
	int			plain;			/* the newest plain write, or -1 */
} Events;

/* Something that a write put there: an element or a leaf. */
typedef struct Added
{
	int			event;			/* -1: from the beginning */
	int			key;			/* element, path */
	int			data;			/* leaf */
} Added;

#define MOST_ADDED 4000

static Events events;
static Added added[MOST_ADDED];
static int	nadded;

/* Orders writes by version, and those of one transaction as they were made; what was there before all is first. */
static int
cmp_events(int a, int b)
{
	int			c;

	if (a < 0 || b < 0)
		return (a >= 0) - (b >= 0);
	c = version_cmp(events.list[a].txn->version, events.list[b].txn->version);
	return c ? c : events.list[a].index - events.list[b].index;
}

/* True if a write had seen another one. */
static bool
had_seen(int later, int earlier)
{
	const Event *l = &events.list[later];
	const Event *e = &events.list[earlier];

	if (earlier < 0)
		return true;
	if (l->txn == e->txn)
		return e->index < l->index;
	return l->txn->deps[e->txn->origin] >= e->txn->seq;
}

/* Collects the writes that count: of plain ones the newest. */
static void
collect(const History *h, const int *applied)
{
	events.n = 0;
	events.plain = -1;
	for (int o = 1; o <= h->nnodes; o++)
	{
		for (int s = 0; s < applied[o]; s++)
		{
			const Txn  *t = h->txns[o][s];

			for (int i = 0; i < t->nwrites; i++)
			{
				events.list[events.n] = (Event) {t, i, &t->writes[i]};
				if (t->writes[i].action == PLAIN && cmp_events(events.n, events.plain) > 0)
					events.plain = events.n;
				events.n++;
			}
		}
	}
}

/* ---------- numbers ---------- */

/* True for writes that do not just tell a difference. */
static bool
assigns_number(const Write *w, bool counter)
{
	if (w->action == INSERT || w->action == PLAIN)
		return true;
	if (w->action != UPDATE)
		return false;
	if (counter)
		return w->old.isnull != w->new.isnull;
	return w->old.isnull != w->new.isnull || (!w->new.isnull && w->old.number != w->new.number);
}

/* The newest assignment and, for a counter, the differences that it had not seen. */
static void
expect_number(const History *h, bool counter, Value *v)
{
	int			base = -1;
	int128		sum;

	for (int i = 0; i < events.n; i++)
	{
		if (assigns_number(events.list[i].w, counter) && cmp_events(i, base) > 0)
			base = i;
	}
	*v = base < 0 ? h->first : events.list[base].w->new;
	sum = v->isnull ? 0 : v->number;
	for (int i = 0; i < events.n && counter; i++)
	{
		const Write *w = events.list[i].w;

		if (w->action != UPDATE || w->old.isnull || w->new.isnull || w->new.number == w->old.number)
			continue;
		if (base >= 0 && had_seen(base, i))
			continue;
		sum += (int128) w->new.number - w->old.number;
		v->isnull = false;
	}
	v->number = (int64) Max(Min(sum, (int128) PG_INT64_MAX), (int128) PG_INT64_MIN);
}

/* ---------- what is live ---------- */

/* Notes that a write added something. */
static void
add(int event, int key, int data)
{
	if (nadded == MOST_ADDED)
		elog(ERROR, "too much is added");
	added[nadded++] = (Added) {event, key, data};
}

/* How often a set has an element. */
static int
count_element(const Value *v, int e)
{
	int			n = 0;

	for (int i = 0; i < v->n; i++)
		n += v->elements[i] == e;
	return n;
}

/* True if one path is the other, above it or below it. */
static bool
related(int a, int b)
{
	return path_is_above(a, b) || path_is_above(b, a);
}

/* The path at which a removed leaf is gone: the shortest at which nothing is left. */
static int
removed_at(const Value *new, int path)
{
	int			at = path;

	for (int p = path; p >= 0; p = path_above(p))
	{
		if (!has_leaf_below(new, p))
			at = p;
	}
	return at;
}

/* True if an update was about an element or path. */
static bool
is_about(MergeKind kind, const Write *w, int key)
{
	if (key == NULL_MARK)		/* every change */
	{
		bool		changed = w->old.isnull != w->new.isnull;

		for (int e = NULL_ELEMENT; e < NULL_MARK; e++)
			changed |= count_element(&w->old, e) != count_element(&w->new, e);
		return changed;
	}
	if (kind == MERGE_SET)
		return count_element(&w->old, key) != count_element(&w->new, key);
	for (int p = 0; p < PATHS; p++)
	{
		bool		gone = w->old.leaves[p] != 0;

		if (w->new.leaves[p] && w->new.leaves[p] != w->old.leaves[p] && related(p, key))
			return true;
		for (int q = 0; q < PATHS; q++)
			gone &= !(w->new.leaves[q] && path_is_above(q, p));
		if (gone && related(removed_at(&w->new, p), key))
			return true;
	}
	return false;
}

void
expect_about(MergeKind kind, Write *w)
{
	w->about = 0;
	if (kind == MERGE_SET)
	{
		for (int e = NULL_ELEMENT; e < 31; e++)
			w->about |= is_about(kind, w, e) ? 1u << (e + 1) : 0;
	}
	if (kind == MERGE_MAP)
	{
		for (int p = 0; p < PATHS; p++)
			w->about |= is_about(kind, w, p) ? 1u << (p + 1) : 0;
	}
}

/* Adds what a write (-1: the beginning) added. */
static void
collect_added(const History *h, int event)
{
	const Write *w = event >= 0 ? events.list[event].w : NULL;
	const Value *v = w ? &w->new : &h->first;
	bool		all = !w || w->action != UPDATE;

	for (int i = 0; i < v->n && h->kind == MERGE_SET; i++)
	{
		if (all || count_element(&w->old, v->elements[i]) != count_element(v, v->elements[i]))
			add(event, v->elements[i], 0);
	}
	if (h->kind == MERGE_SET && v->isnull && (all || !w->old.isnull))
		add(event, NULL_MARK, 0);
	for (int p = 0; p < PATHS && h->kind == MERGE_MAP; p++)
	{
		if (v->leaves[p] && (all || v->leaves[p] != w->old.leaves[p]))
			add(event, p, v->leaves[p]);
	}
}

/* True if no write that had seen it was about it. */
static bool
is_live(const Added *a)
{
	for (int i = 0; i < events.n; i++)
	{
		const Write *w = events.list[i].w;

		if ((w->action == INSERT || (w->action == UPDATE && (w->about >> (a->key + 1)) & 1)) && had_seen(i, a->event))
			return false;
	}
	return true;
}

/* Leaves in added[] what is live. */
static void
collect_live(const History *h)
{
	int			n = 0;

	nadded = 0;
	if (events.plain < 0 && h->initial)
		collect_added(h, -1);
	for (int i = 0; i < events.n; i++)
	{
		Action		a = events.list[i].w->action;

		if (a == INSERT || a == UPDATE || i == events.plain)
			collect_added(h, i);
	}
	for (int i = 0; i < nadded; i++)
	{
		if (is_live(&added[i]))
			added[n++] = added[i];
	}
	nadded = n;
}

/* ---------- sets ---------- */

/* Elements in the order in which they were added. */
static void
expect_set(const History *h, Value *v)
{
	int			marks = 0;

	*v = (Value) {0};
	collect_live(h);
	/* in the order of the writes; what one write added is in order already */
	for (int i = 1; i < nadded; i++)
	{
		for (int j = i; j > 0 && cmp_events(added[j - 1].event, added[j].event) > 0; j--)
		{
			Added		a = added[j];

			added[j] = added[j - 1];
			added[j - 1] = a;
		}
	}
	for (int i = 0; i < nadded; i++)
	{
		bool		later = added[i].key == NULL_MARK;

		marks += later;

		for (int j = 0; j < i && !later; j++)
			later = added[j].key == added[i].key && added[j].event != added[i].event;
		if (!later)
			v->elements[v->n++] = added[i].key;
		if (v->n == MOST_ELEMENTS)
			elog(ERROR, "too many elements");
	}
	v->isnull = v->n == 0 && marks > 0;
}

/* ---------- maps ---------- */

/* Shows what is at a path; returns false if nothing is. */
static bool
show_path(Value *v, int path)
{
	int			here = -1,
				below = -1;

	for (int i = 0; i < nadded; i++)
	{
		bool		is_below = added[i].key != path && path_is_above(path, added[i].key);

		if (added[i].key == path && (here < 0 || cmp_events(added[i].event, added[here].event) > 0))
			here = i;
		if (is_below && (below < 0 || cmp_events(added[i].event, added[below].event) > 0))
			below = i;
	}
	if (here < 0 && below < 0)
		return false;
	if (here >= 0 && (below < 0 || (added[here].data != LEAF_EMPTY && cmp_events(added[here].event, added[below].event) > 0)))
		v->leaves[path] = added[here].data;
	else
	{
		for (int p = 2 * path + 1; p <= 2 * path + 2; p++)
			(void) show_path(v, p);
	}
	return true;
}

/* What shows of the leaves that are live. */
static void
expect_map(const History *h, Value *v)
{
	*v = (Value) {0};
	collect_live(h);
	if (!show_path(v, 0))
		v->leaves[0] = LEAF_EMPTY;
	v->isnull = v->leaves[0] == LEAF_NULL;
}

/* ---------- the row ---------- */

bool
expect_row(const History *h, const int *applied, Value *value)
{
	int			newest = -1;

	collect(h, applied);
	for (int i = 0; i < events.n; i++)
	{
		if (cmp_events(i, newest) > 0)
			newest = i;
	}
	if (newest < 0 ? !h->initial : events.list[newest].w->action == DELETE)
		return false;
	switch (h->kind)
	{
		case MERGE_LAST_WRITE_WINS:
		case MERGE_COUNTER:
			expect_number(h, h->kind == MERGE_COUNTER, value);
			break;
		case MERGE_SET:
			expect_set(h, value);
			break;
		case MERGE_MAP:
			expect_map(h, value);
			break;
	}
	return true;
}
