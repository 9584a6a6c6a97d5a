/*
 * merge_history.c
 *		Random histories of a merged column (model/merge.h): some nodes write one row, insert, update and delete it, hear of
 *		each other late, crash, forget states. After every step what a node shows is compared with merge_expect.c.
 *
 * unit_merge_history(seed, histories, broken rule): with rule 'none', raises an error at the first difference, and returns
 * figures. With another rule what calls the product's code breaks that rule, and the result is the first
 * difference, or 'none': so we know that the histories would find it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "merge_history.h"

PG_FUNCTION_INFO_V1(unit_merge_history);

static const char *const rules[] = {
	"none",
	"vector",					/* ops come without what their writer had seen */
	"vector_ahead",				/* ops come with more than their writer had seen */
	"vector_forgotten",			/* a node writes with a vector that lacks what it has forgotten */
	"unchanged",				/* columns that a write left alone are not merged */
	"keep",						/* nothing is kept of a row that goes */
	"resolve",					/* a state gets another version than its transaction */
	"causal",					/* ops come before what they have seen */
	"clock",					/* versions are not newer than what was seen */
	"forget_dots",				/* states are forgotten whatever is in them */
	"forget_row",				/* states are forgotten though the row's version is not stable */
	"forget_totals",			/* totals are folded while the row lives */
	"forget_delete",			/* a dead row's states are forgotten before its delete is stable */
	"trim",						/* states are trimmed of what is not stable */
	"stable",					/* heap rows are taken for stable */
	"rewrite",					/* the writer goes on with what he wrote, not with what it makes */
	"plain"						/* plain writes are taken for inserts */
};

typedef enum Rule
{
	NONE,
	VECTOR,
	VECTOR_AHEAD,
	VECTOR_FORGOTTEN,
	UNCHANGED,
	KEEP,
	RESOLVE,
	CAUSAL,
	CLOCK,
	FORGET_DOTS,
	FORGET_ROW,
	FORGET_TOTALS,
	FORGET_DELETE,
	TRIM,
	STABLE,
	REWRITE,
	PLAIN_INSERT
} Rule;

/* A node. Copied as a whole when it crashes: what its pointers lead to never changes. */
typedef struct Site
{
	NodeId		id;
	int			applied[MOST_NODES + 1];
	int			told[MOST_NODES + 1][MOST_NODES + 1];	/* what each node is known to have */
	bool		merges;			/* the column's kind is known here */
	bool		live;
	Version		top;			/* of the newest put or delete */
	Datum		value;
	bool		isnull;
	bytea	   *state;
	int			skew;
	TimestampTz max_seen;
} Site;

static Rule broken;
static pg_prng_state prng;
static History h;
static Site nodes[MOST_NODES + 1];
static Site saved[MOST_NODES + 1];
static bool slow[MOST_NODES + 1][MOST_NODES + 1];	/* this node hears of that one late */
static int	clock_now;
static char *violation;
static MergeColumn columns[7];
static const MergeColumn *column;

/* Figures. */
static int64 n_txns,
			n_ops,
			n_checks,
			n_forgotten,
			n_crashes,
			n_clamped,
			n_rewritten;

#define CHECK(condition, ...) \
	do { \
		n_checks++; \
		if (!(condition) && !violation) \
			violation = psprintf(__VA_ARGS__); \
	} while (0)

/* A random number from 0 to n - 1. */
static int
draw(int n)
{
	return (int) pg_prng_uint64_range(&prng, 0, n - 1);
}

/* True in so many of a hundred cases. */
static bool
chance(int percent)
{
	return draw(100) < percent;
}

/* ---------- values ---------- */

/* The greatest number of a type; 0: it has none. */
static int64
limit_of(Oid typid)
{
	return typid == INT2OID ? PG_INT16_MAX : typid == INT4OID ? PG_INT32_MAX : typid == INT8OID ? PG_INT64_MAX : 0;
}

/* A number as the column has it. */
static Datum
number_datum(int64 n)
{
	switch (h.typid)
	{
		case INT2OID:
			return Int16GetDatum((int16) n);
		case INT4OID:
			return Int32GetDatum((int32) n);
		case INT8OID:
			return Int64GetDatum(n);
		default:
			return NumericGetDatum(int64_to_numeric(n));
	}
}

/* An array as the column has it. */
static Datum
set_datum(const Value *v)
{
	Datum		elements[MOST_ELEMENTS];
	bool		nulls[MOST_ELEMENTS];
	int			n = v->n,
				lower = 1;

	if (n == 0)
		return PointerGetDatum(construct_empty_array(INT4OID));
	for (int i = 0; i < n; i++)
	{
		nulls[i] = v->elements[i] == NULL_ELEMENT;
		elements[i] = Int32GetDatum(nulls[i] ? 0 : v->elements[i]);
	}
	return PointerGetDatum(construct_md_array(elements, nulls, 1, &n, &lower, INT4OID, 4, true, TYPALIGN_INT));
}

/* Text of a leaf. */
static char *
leaf_text(int leaf)
{
	return leaf == LEAF_EMPTY ? "{}" : leaf % 3 == 0 ? psprintf("[%d]", leaf) : psprintf("%d", leaf);
}

/* Writes what a value has at a path. */
static void
write_map(StringInfo out, const Value *v, int path)
{
	const char *comma = "";

	if (v->leaves[path])
	{
		appendStringInfoString(out, leaf_text(v->leaves[path]));
		return;
	}
	appendStringInfoChar(out, '{');
	for (int p = 2 * path + 1; p <= 2 * path + 2; p++)
	{
		if (p < PATHS && has_leaf_below(v, p))
		{
			appendStringInfo(out, "%s\"%s\":", comma, p % 2 ? "a" : "bb");
			write_map(out, v, p);
			comma = ",";
		}
	}
	appendStringInfoChar(out, '}');
}

/* An object as the column has it. */
static Datum
map_datum(const Value *v)
{
	StringInfoData s;

	initStringInfo(&s);
	write_map(&s, v, 0);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(s.data));
}

/* A value as the column has it. */
static Datum
to_datum(const Value *v)
{
	if (v->isnull)
		return (Datum) 0;
	switch (h.kind)
	{
		case MERGE_SET:
			return set_datum(v);
		case MERGE_MAP:
			return map_datum(v);
		default:
			return number_datum(v->number);
	}
}

/* The text of a value, for messages. */
static char *
to_text(Datum value, bool isnull)
{
	return isnull ? "NULL" : merge_check_type(MERGE_SET, h.typid) == NULL ?
		OidOutputFunctionCall(F_ARRAY_OUT, value) : OutputFunctionCall((FmgrInfo *) &column->item_out, value);
}

/* ---------- random values ---------- */

/* Removes what a value has at a path, below it and, being a leaf, above it. */
static void
clear_path(Value *v, int path)
{
	for (int p = 0; p < PATHS; p++)
	{
		if (path_is_above(p, path) || path_is_above(path, p))
			v->leaves[p] = 0;
	}
}

/* Puts a leaf somewhere, or takes away what is there; what is left without a key then is an empty object, or goes too. */
static void
draw_map(Value *v, bool fresh)
{
	int			path = chance(5) ? 0 : 1 + draw(PATHS - 1);
	int			leaf = chance(15) ? LEAF_EMPTY : 10 + draw(20);
	bool		goes = !fresh && path > 0 && chance(has_leaf_below(v, path) ? 50 : 10);

	if (fresh)
		memset(v, 0, sizeof(*v));
	clear_path(v, path);
	if (path == 0 && chance(30))
		leaf = LEAF_NULL;
	v->leaves[path] = goes ? 0 : leaf;
	while (!has_leaf_below(v, path))
	{
		path = path_above(path);
		if (path == 0 || chance(50))
			v->leaves[path] = has_leaf_below(v, path) ? 0 : LEAF_EMPTY;
	}
	v->isnull = v->leaves[0] == LEAF_NULL;
}

/* Takes elements away and puts some in, mostly at the end. */
static void
draw_set(Value *v, bool fresh)
{
	int			n = 0;

	if (chance(5))
	{
		*v = (Value) {.isnull = true};
		return;
	}
	if (fresh)
		v->n = 0;
	v->isnull = false;
	for (int i = 0; i < v->n; i++)
	{
		if (!chance(25))
			v->elements[n++] = v->elements[i];
	}
	v->n = n;
	for (int i = draw(3); i > 0 && v->n < 10; i--)
	{
		int			at = chance(20) ? draw(v->n + 1) : v->n;

		memmove(&v->elements[at + 1], &v->elements[at], (v->n - at) * sizeof(int));
		v->elements[at] = chance(5) ? NULL_ELEMENT : draw(6);
		v->n++;
	}
}

/* Adds a little, or starts anew, at times close to a limit. */
static void
draw_number(Value *v, bool fresh)
{
	int64		limit = limit_of(h.typid);
	int64		delta = draw(21) - 10;

	if (chance(6))
	{
		*v = (Value) {.isnull = true};
		return;
	}
	if (fresh || v->isnull)
		v->number = chance(20) && limit ? (chance(50) ? limit - draw(6) : -limit + draw(6)) : draw(100);
	else if (!limit || (delta > 0 ? v->number < limit - delta : v->number > -limit - delta))
		v->number += delta;
	v->isnull = false;
}

/* Makes a value another one. */
static void
draw_value(Value *v, bool fresh)
{
	if (h.kind == MERGE_SET)
		draw_set(v, fresh);
	else if (h.kind == MERGE_MAP)
		draw_map(v, fresh);
	else
		draw_number(v, fresh);
}

/* ---------- one node ---------- */

/* Of each node, how far all are known to be. */
static int
stable_count(const Site *n, NodeId origin)
{
	int			least = n->applied[origin];

	for (int m = 1; m <= h.nnodes; m++)
	{
		if (m != n->id)
			least = Min(least, n->told[m][origin]);
	}
	return least;
}

/* The timestamps of so many transactions of each. */
static void
raise_to(Frontier *f, NodeId origin, int count)
{
	if (count > 0)
		frontier_raise(f, origin, 1, h.txns[origin][count - 1]->version.ts);
}

/* What is stable at a node, as timestamps. */
static Frontier *
stable_vector(const Site *n)
{
	Frontier   *f = frontier_create();

	for (int o = 1; o <= h.nnodes; o++)
		raise_to(f, o, stable_count(n, o));
	return f;
}

/* True if a version is stable. */
static bool
is_stable(const Frontier *stable, Version v)
{
	return version_is_oldest(v) || frontier_ts(stable, v.node) >= v.ts;
}

/* What a node shows, as the product is told it. */
static MergeShown
shown_by(const Site *n)
{
	return (MergeShown) {n->live, n->value, n->isnull, n->top, broken == STABLE || is_stable(stable_vector(n), n->top)};
}

/* Compares what a node shows with what it should. */
static void
check_node(const Site *n, const char *when)
{
	Value		v;
	bool		live = expect_row(&h, n->applied, &v);
	int64		limit = limit_of(h.typid);
	Datum		value;

	CHECK(live == n->live, "node %d %s: the row is %s", n->id, when, live ? "gone" : "there");
	if (!live || !n->live)
		return;
	if (limit && !v.isnull && h.kind == MERGE_COUNTER)
		v.number = Max(Min(v.number, limit), -limit - 1);
	value = to_datum(&v);
	CHECK(v.isnull == n->isnull && (v.isnull || datum_image_eq(value, n->value, column->typbyval, column->typlen)),
		  "node %d %s shows %s, not %s", n->id, when, to_text(n->value, n->isnull), to_text(value, v.isnull));
}

/* Takes a result over. */
static void
take(Site *n, const MergeResult *r)
{
	n->state = r->state;
	n->value = r->value;
	n->isnull = r->isnull;
	n_clamped += r->clamped;
	n_rewritten += r->rewrite;
}

/* The row goes. */
static void
remove_row(Site *n)
{
	MergeShown	shown = shown_by(n);

	if (n->merges && broken != KEEP)
		n->state = merge_keep(column, n->state, &shown);
	n->live = false;
}

/* ---------- transactions of a node ---------- */

/* A new transaction, with what its writer has seen; now and then its vector is behind. */
static Txn *
begin(Site *n)
{
	Txn		   *t = palloc0(sizeof(Txn));
	Frontier   *stable = stable_vector(n);

	clock_now += draw(3);
	t->origin = n->id;
	t->seq = n->applied[n->id] + 1;
	t->version.node = n->id;
	t->version.ts = clock_now + n->skew;
	if (broken != CLOCK)
		t->version.ts = Max(t->version.ts, n->max_seen + 1);
	n->max_seen = Max(n->max_seen, t->version.ts);
	t->seen = frontier_create();
	for (int o = 1; o <= h.nnodes; o++)
	{
		t->deps[o] = n->applied[o];
		raise_to(t->seen, o, broken == VECTOR_FORGOTTEN ? n->applied[o] - 2 : n->applied[o] - (chance(20) ? 1 : 0));
	}
	if (broken != VECTOR_FORGOTTEN)
		frontier_merge(t->seen, stable);
	h.txns[n->id][t->seq - 1] = t;
	h.ntxns[n->id] = t->seq;
	n->applied[n->id] = t->seq;
	n_txns++;
	return t;
}

/* Writes by a node where the column does not merge yet. */
static void
write_plain(Site *n, Txn *t, Write *w)
{
	w->action = PLAIN;
	draw_value(&w->new, !n->live);
	w->value = n->value = to_datum(&w->new);
	w->isnull = n->isnull = w->new.isnull;
	n->live = true;
	n->top = t->version;
}

/* An insert or update. */
static void
write_merged(Site *n, Txn *t, Write *w)
{
	MergeShown	shown = shown_by(n);
	MergeResult r;
	Datum		value;

	w->action = !n->live ? INSERT : chance(20) ? TOUCH : UPDATE;
	if (w->action != TOUCH)
		draw_value(&w->new, !n->live);
	expect_about(h.kind, w);
	value = to_datum(&w->new);
	merge_local(column, n->state, &shown, value, w->new.isnull, w->action == INSERT, n->id, t->seen, &r);
	w->op = r.op ? VARDATA_ANY(r.op) : NULL;
	w->oplen = r.op ? VARSIZE_ANY_EXHDR(r.op) : 0;
	w->value = r.value;
	w->isnull = r.isnull;
	n_ops += r.op != NULL;
	CHECK(r.rewrite == (r.isnull != w->new.isnull ||
						(!r.isnull && !datum_image_eq(r.value, value, column->typbyval, column->typlen))), "rewrite is wrong");
	CHECK(!r.rewrite || h.kind == MERGE_SET || h.kind == MERGE_COUNTER, "a value is rewritten");
	CHECK(w->action != TOUCH || !r.op, "an untouched column makes an op");
	if (broken == UNCHANGED && !r.op)
		r.state = n->state;
	if (broken == REWRITE)
	{
		r.value = value;
		r.isnull = w->new.isnull;
	}
	take(n, &r);
	n->live = true;
	n->top = VERSION_SELF;
}

/* One write of a transaction. Its node's own expectation is what the user sees and changes. */
static void
write_one(Site *n, Txn *t)
{
	Write	   *w = &t->writes[t->nwrites];

	memset(w, 0, sizeof(*w));
	if (expect_row(&h, n->applied, &w->old) && h.kind == MERGE_COUNTER && limit_of(h.typid))
		w->old.number = Max(Min(w->old.number, limit_of(h.typid)), -limit_of(h.typid) - 1);
	w->new = w->old;
	if (n->merges && n->live && chance(12))
	{
		w->action = DELETE;
		remove_row(n);
		n->top = VERSION_SELF;
	}
	else if (n->merges)
		write_merged(n, t, w);
	else
		write_plain(n, t, w);
	t->nwrites++;
	check_node(n, "after its write");
}

/* A transaction of a node. */
static void
write_txn(Site *n)
{
	Txn		   *t;

	if (n->applied[n->id] >= MOST_TXNS - 5)
		return;
	if (!n->merges && chance(30))
		n->merges = true;
	t = begin(n);
	for (int i = chance(70) ? 1 : 1 + draw(MOST_WRITES); i > 0 && !violation; i--)
		write_one(n, t);
	if (n->state)
		n->state = merge_state_resolve(n->state, broken == RESOLVE ? (Version) {t->version.ts - 1, n->id} : t->version);
	n->top = t->version;
}

/* ---------- transactions of others ---------- */

/* A put comes. */
static void
apply_put(Site *n, const Txn *t, const Write *w)
{
	MergeShown	shown = shown_by(n);
	bool		newer = version_cmp(t->version, n->top) >= 0;
	Frontier   *seen = broken == VECTOR ? frontier_create() : t->seen;
	MergeResult r;

	if (broken == UNCHANGED && w->oplen == 0 && w->action == TOUCH && n->live)
	{
		n->top = newer ? t->version : n->top;
		return;
	}
	if (broken == VECTOR_AHEAD)
	{
		seen = frontier_create();
		for (int o = 1; o <= h.nnodes; o++)
			raise_to(seen, o, h.ntxns[o]);
	}
	if (w->action == PLAIN)
		merge_apply_plain(column, n->state, &shown, w->value, w->isnull, t->version, &r);
	else
		merge_apply(column, n->state, &shown, w->op, w->oplen, w->value, w->isnull, t->version, seen, &r);
	if (broken == PLAIN_INSERT && w->action == PLAIN)
	{
		MergeResult made;
		MergeShown	none = {false};

		merge_local(column, NULL, &none, w->value, w->isnull, true, t->origin, t->seen, &made);
		merge_apply(column, n->state, &shown, VARDATA_ANY(made.op), VARSIZE_ANY_EXHDR(made.op), w->value, w->isnull,
					t->version, seen, &r);
	}
	if (newer)
	{
		n->live = true;
		n->top = t->version;
	}
	take(n, &r);
	if (!n->live)
	{
		shown = (MergeShown) {true, r.value, r.isnull, t->version, false};
		n->state = broken == KEEP ? NULL : merge_keep(column, r.state, &shown);
	}
}

/* A write comes. */
static void
apply_write(Site *n, const Txn *t, const Write *w)
{
	bool		newer = version_cmp(t->version, n->top) >= 0;

	if (w->action != PLAIN)
		n->merges = true;
	if (w->action == DELETE)
	{
		if (newer && n->live)
			remove_row(n);
		if (newer)
			n->top = t->version;
	}
	else if (n->merges)
		apply_put(n, t, w);
	else if (newer)
	{
		n->live = true;
		n->top = t->version;
		n->value = w->value;
		n->isnull = w->isnull;
	}
}

/* Forgets the state where that is allowed. */
static void
forget(Site *n)
{
	Frontier   *stable = stable_vector(n);
	bool		top = is_stable(stable, n->top);

	if (n->state && (broken == NONE || broken == TRIM) && chance(70))
	{
		Frontier   *through = frontier_create();

		frontier_merge(through, stable);
		for (int o = 1; o <= h.nnodes && broken == TRIM; o++)
			raise_to(through, o, n->applied[o]);
		n->state = merge_state_trim(column, n->state, through);
	}
	if (broken == (n->live ? FORGET_ROW : FORGET_DELETE))
		top = true;
	if (!n->state || !top)
		return;
	if (broken != FORGET_DOTS && !merge_forgettable(n->state, n->live && broken != FORGET_TOTALS, stable))
		return;
	n->state = NULL;
	if (!n->live)
		n->top = VERSION_OLDEST;
	n_forgotten++;
}

/* Applies the next transaction of an origin; again: twice. Returns false if it cannot come yet. */
static bool
deliver(Site *n, NodeId origin, bool again)
{
	Txn		   *t;

	if (origin == n->id || n->applied[origin] == h.ntxns[origin])
		return false;
	if (slow[n->id][origin] && !chance(5))
		return false;
	t = h.txns[origin][n->applied[origin]];
	for (int o = 1; o <= h.nnodes && broken != CAUSAL; o++)
	{
		if (n->applied[o] < t->deps[o])
			return false;
	}
	n->applied[origin]++;
	memcpy(n->told[origin], t->deps, sizeof(t->deps));
	n->told[origin][origin]++;
	n->max_seen = Max(n->max_seen, t->version.ts);
	for (int i = 0; i < t->nwrites; i++)
	{
		apply_write(n, t, &t->writes[i]);
		if (again && t->nwrites == 1)
			apply_write(n, t, &t->writes[i]);
	}
	check_node(n, "after applying");
	return true;
}

/* ---------- histories ---------- */

/* Draws the column, and how the row begins. */
static void
draw_history(int number)
{
	static const Oid counters[] = {INT2OID, INT4OID, INT8OID, NUMERICOID};
	int			c = number % 4 == MERGE_COUNTER ? 3 + draw(4) : number % 4 == MERGE_SET ? 1 : number % 4 == MERGE_MAP ? 2 : 0;
	bool		merges = chance(70);

	memset(&h, 0, sizeof(h));
	memset(nodes, 0, sizeof(nodes));
	memset(slow, 0, sizeof(slow));
	column = &columns[c];
	h.kind = column->kind;
	h.typid = c >= 3 ? counters[c - 3] : column->typid;
	h.nnodes = 2 + draw(MOST_NODES - 1);
	h.initial = chance(50);
	h.first.isnull = true;
	if (h.initial)
		draw_value(&h.first, true);
	clock_now = 1000;
	for (int i = chance(60) ? draw(4) : 0; i > 0; i--)
		slow[1 + draw(h.nnodes)][1 + draw(h.nnodes)] = true;
	for (int i = 1; i <= h.nnodes; i++)
	{
		nodes[i] = (Site) {.id = i,.live = h.initial,.merges = merges,.top = VERSION_OLDEST,
		.value = h.initial ? to_datum(&h.first) : (Datum) 0,.isnull = !h.initial || h.first.isnull,.skew = draw(30),.max_seen = 0};
		saved[i] = nodes[i];
	}
}

/* Brings a node all that can come. */
static void
catch_up(Site *n)
{
	bool		more = true;

	while (more && !violation)
	{
		more = false;
		for (int o = 1; o <= h.nnodes && !violation; o++)
			more |= deliver(n, o, false);
	}
}

/* Most nodes hear of everything, and tell so: much becomes stable, here and not there. */
static void
exchange(void)
{
	for (int i = 1; i <= h.nnodes; i++)
	{
		if (chance(80))
			catch_up(&nodes[i]);
		if (chance(90) && nodes[i].applied[i] < MOST_TXNS - 5)
			(void) begin(&nodes[i]);
	}
	for (int i = 1; i <= h.nnodes; i++)
	{
		if (chance(50))
			catch_up(&nodes[i]);
		if (chance(50))
			forget(&nodes[i]);
	}
}

/* A step of a node. */
static void
step(Site *n)
{
	int			what = draw(100);

	if (chance(10))
		exchange();

	if (what < 30)
		write_txn(n);
	else if (what < 42 && n->applied[n->id] < MOST_TXNS - 5)
		(void) begin(n);		/* tells what it has */
	else if (what < 45)
		saved[n->id] = *n;
	else if (what < 50 && saved[n->id].applied[n->id] == n->applied[n->id])
	{
		*n = saved[n->id];
		n_crashes++;
	}
	else
	{
		for (int i = 0; i < 3 && !violation; i++)
			(void) deliver(n, 1 + draw(h.nnodes), chance(5));
	}
	if (chance(40))
		forget(n);
}

/* Everything comes everywhere; now and then everybody tells what it has, and forgets. */
static void
finish(void)
{
	memset(slow, 0, sizeof(slow));
	for (int round = 0; round < 2 && !violation; round++)
	{
		bool		more = true;

		while (more && !violation)
		{
			more = false;
			for (int i = 1; i <= h.nnodes; i++)
			{
				for (int o = 1 + draw(h.nnodes), k = 0; k < h.nnodes; k++)
					more |= deliver(&nodes[i], 1 + (o + k) % h.nnodes, false);
				if (chance(30))
					forget(&nodes[i]);
			}
		}
		for (int i = 1; i <= h.nnodes && round == 0; i++)
			(void) begin(&nodes[i]);
	}
	for (int i = 1; i <= h.nnodes && !violation; i++)
	{
		forget(&nodes[i]);
		check_node(&nodes[i], "in the end");
		CHECK(nodes[i].isnull == nodes[1].isnull || !nodes[1].live, "nodes 1 and %d differ", i);
		CHECK(!nodes[1].live || nodes[1].isnull || datum_image_eq(nodes[1].value, nodes[i].value, column->typbyval, column->typlen),
			  "nodes 1 and %d differ", i);
		CHECK(h.kind == MERGE_COUNTER || broken != NONE || !nodes[i].state, "node %d cannot forget", i);
	}
}

/* One history; returns the first violation, or NULL. */
static char *
run_history(uint64 seed, int number)
{
	pg_prng_seed(&prng, seed);
	violation = NULL;
	draw_history(number);
	for (int i = 5 + draw(60); i > 0 && !violation; i--)
		step(&nodes[1 + draw(h.nnodes)]);
	finish();
	if (violation)
		return psprintf("%s of %s, seed " UINT64_FORMAT ": %s", merge_kind_name(h.kind), format_type_be(h.typid), seed, violation);
	return NULL;
}

/* The columns of all histories. */
static void
make_columns(void)
{
	merge_column_init(&columns[0], MERGE_LAST_WRITE_WINS, INT4OID, -1, InvalidOid);
	merge_column_init(&columns[1], MERGE_SET, INT4ARRAYOID, -1, InvalidOid);
	merge_column_init(&columns[2], MERGE_MAP, JSONBOID, -1, InvalidOid);
	merge_column_init(&columns[3], MERGE_COUNTER, INT2OID, -1, InvalidOid);
	merge_column_init(&columns[4], MERGE_COUNTER, INT4OID, -1, InvalidOid);
	merge_column_init(&columns[5], MERGE_COUNTER, INT8OID, -1, InvalidOid);
	merge_column_init(&columns[6], MERGE_COUNTER, NUMERICOID, -1, InvalidOid);
}

/* The rule of a name. */
static Rule
find_rule(const char *name)
{
	for (int i = 0; i < lengthof(rules); i++)
	{
		if (strcmp(rules[i], name) == 0)
			return (Rule) i;
	}
	elog(ERROR, "there is no rule \"%s\"", name);
}

/* unit_merge_history(seed, histories, broken rule) → text */
Datum
unit_merge_history(PG_FUNCTION_ARGS)
{
	uint64		seed = PG_GETARG_INT64(0);
	int			count = PG_GETARG_INT32(1);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "history", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;

	broken = find_rule(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	make_columns();
	n_txns = n_ops = n_checks = n_forgotten = n_crashes = n_clamped = n_rewritten = 0;
	for (int i = 0; i < count; i++)
	{
		char	   *what;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		what = run_history(seed + i, (int) ((seed + i) % 4));
		MemoryContextSwitchTo(old);
		if (what && broken == NONE)
			elog(ERROR, "%s", what);
		if (what)
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s (history %d)", what, i + 1)));
		MemoryContextReset(context);
	}
	if (broken != NONE)
		PG_RETURN_TEXT_P(cstring_to_text("none"));
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%d histories, " INT64_FORMAT " transactions, " INT64_FORMAT " ops, " INT64_FORMAT
											  " checks, " INT64_FORMAT " states forgotten, " INT64_FORMAT " crashes, " INT64_FORMAT
											  " times at a limit, " INT64_FORMAT " values rewritten",
											  count, n_txns, n_ops, n_checks, n_forgotten, n_crashes, n_clamped, n_rewritten)));
}
