/*
 * sibling_tests.c
 *		Random histories of one row on several replicas against model/sibling.c.
 *
 * Replicas write, hand on (causally, each node's writes in their order), tell how far they are by frontier rows, forget what is
 * stable, lose the version of stable rows (as frozen or copied rows do), join by copying another, and make the table
 * mergeable in the middle of it all. Checked after every step: a replica has exactly those writes that it knows and that
 * no write that it knows has replaced.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "model/sibling.h"

PG_FUNCTION_INFO_V1(unit_siblings);

#define REPLICAS	6
#define LOG_MOST	250
#define NOTES		64

typedef enum EventKind
{
	EVENT_WRITE,
	EVENT_FRONTIER,
	EVENT_POLICY
} EventKind;

/* One transaction of a replica. */
typedef struct Event
{
	EventKind	kind;
	int			deps[REPLICAS]; /* what its writer had of everybody */
	TimestampTz through;		/* frontier row: all that comes later is later */
	int			row[REPLICAS];	/* frontier row: what the writer had */
	Version		version;
	WriteContext context;
	bool		deleted;
	int			id;
	bool		removed[LOG_MOST * REPLICAS];	/* writes that it replaces, by id */
	bool		kept[LOG_MOST * REPLICAS];	/* writes that its writer knew, and keeps */
} Event;

/* Where a replica was once: what was there is stable when all have it. */
typedef struct Note
{
	int			has[REPLICAS];
	TimestampTz through[REPLICAS];
	int			changes;
} Note;

typedef struct Replica
{
	bool		member;
	bool		mergeable;
	bool		young;			/* plain writes may still come */
	int			policy_note;	/* note that must be stable before that ends, ... */
	bool		last_wait;		/* ... or before the last wait for that begins */
	bool		stored;			/* the set is stored; else the row is the set */
	SiblingSet *set;
	int			has[REPLICAS];
	TimestampTz seen[REPLICAS];
	int			rows[REPLICAS][REPLICAS];	/* frontier rows as applied here */
	TimestampTz clock;
	int			skew;
	int			changes;		/* of the set */
	int			forgotten;		/* delete that is gone */
	int			nnotes;
	Note		notes[NOTES];
	int			stable;			/* notes up to here are stable */
} Replica;

typedef struct World
{
	Replica		r[REPLICAS];
	Event	   *log[REPLICAS][LOG_MOST];
	int			n[REPLICAS];
	int			nwrites;
	bool		plain_id[LOG_MOST * REPLICAS];
	Version		version_of[LOG_MOST * REPLICAS];
	TimestampTz now;
	pg_prng_state prng;
	bool		quiet;			/* nobody writes for a while */
	const char *broken;
} World;

static World *w;

static bool
is_broken(const char *rule)
{
	return strcmp(w->broken, rule) == 0;
}

static int
draw(int most)
{
	return (int) pg_prng_uint64_range(&w->prng, 0, most - 1);
}

/* The vector that a replica sends with a write. */
static Frontier *
seen_of(const Replica *r)
{
	Frontier   *f = frontier_create();

	for (int o = 0; o < REPLICAS && !is_broken("vector"); o++)
	{
		if (r->seen[o] > 0)
			frontier_raise(f, o + 1, InvalidXLogRecPtr, r->seen[o]);
	}
	return f;
}

/* The id of a write rides in the row's pointer. */
static int
id_of(const Sibling *s)
{
	return (int) (uintptr_t) s->row;
}

/*
 * After a change: a single live sibling that is its own row need not be stored. Whether it is a plain one is then told by
 * whether such may still come.
 */
static void
settle(Replica *r)
{
	r->changes++;
	r->stored = r->set->n != 1 || r->set->items[0].deleted ||
		(r->set->items[0].plain != r->young && !is_broken("young"));
}

/* Before a change: what is not stored is read from the row. */
static void
load(Replica *r)
{
	if (r->mergeable && !r->stored && r->set->n == 1)
		r->set->items[0].plain = r->young;
}

/* Has a replica apply an event. */
static void
apply_event(int i, int o, const Event *e)
{
	Replica    *r = &w->r[i];

	r->has[o]++;
	switch (e->kind)
	{
		case EVENT_FRONTIER:
			r->seen[o] = e->through;
			memcpy(r->rows[o], e->row, sizeof(e->row));
			break;
		case EVENT_POLICY:
			if (!r->mergeable)
			{
				r->mergeable = r->young = true;
				r->policy_note = r->nnotes;
				/* what is here is plain; a delete is a tombstone that is kept */
				r->stored = false;
			}
			break;
		case EVENT_WRITE:
			r->clock = Max(r->clock, e->version.ts);
			{
				WriteContext c = e->context;
				Sibling		s = {.version = e->version,.deleted = e->deleted,.row = (const char *) (uintptr_t) e->id};

				if (is_broken("replaces") && i != o)
					c.nreplaces = 0;
				if (is_broken("keeps") && i != o)
					c.nkeeps = 0;
				load(r);
				(void) sibling_merge(r->set, &c, s);
				settle(r);
			}
			break;
	}
}

/* A new event of a replica, with what its writer has. */
static Event *
new_event(int i, EventKind kind)
{
	Event	   *e = palloc0(sizeof(Event));

	e->kind = kind;
	memcpy(e->deps, w->r[i].has, sizeof(e->deps));
	return e;
}

/* Appends an event to a replica's log; it has it itself. */
static void
commit_event(int i, Event *e)
{
	w->log[i][w->n[i]++] = e;
	apply_event(i, i, e);
}

/* A write, of all or of what a client has read. */
static void
write_row(int i, const Version *read, int nread)
{
	Replica    *r = &w->r[i];
	Event	   *e = new_event(i, EVENT_WRITE);

	r->clock = Max(w->now + r->skew, r->clock + 1);
	e->version = (Version) {r->clock, i + 1};
	e->id = ++w->nwrites;
	e->deleted = draw(4) == 0;
	w->version_of[e->id] = e->version;
	if (!r->mergeable)
	{
		e->context.plain = true;
		w->plain_id[e->id] = true;
	}
	else
	{
		load(r);
		sibling_context(&e->context, r->set, seen_of(r), read, nread);
		e->removed[r->forgotten] = true;
		for (int k = 0; k < r->set->n; k++)
		{
			const Sibling *s = &r->set->items[k];
			bool		kept = e->context.exact;

			for (int q = 0; q < nread; q++)
				kept &= version_cmp(read[q], s->version) != 0;
			e->removed[id_of(s)] = !kept;
			e->kept[id_of(s)] = kept;
		}
	}
	commit_event(i, e);
}

/* True if a replica may apply the next event of another one's log. */
static bool
is_deliverable(int i, int o)
{
	const Replica *r = &w->r[i];
	const Event *e;

	if (o == i || r->has[o] >= w->n[o])
		return false;
	e = w->log[o][r->has[o]];
	for (int q = 0; q < REPLICAS; q++)
	{
		if (r->has[q] < e->deps[q])
			return false;
	}
	return true;
}

/* Notes where a replica is, and moves its stable point over the notes that all members cover. */
static void
note_and_advance(int i)
{
	Replica    *r = &w->r[i];

	if (r->nnotes < NOTES)
	{
		Note	   *note = &r->notes[r->nnotes++];

		memcpy(note->has, r->has, sizeof(note->has));
		memcpy(note->through, r->seen, sizeof(note->through));
		note->changes = r->changes;
	}
	while (r->stable < r->nnotes)
	{
		const Note *note = &r->notes[r->stable];

		for (int m = 0; m < REPLICAS && !is_broken("stable"); m++)
		{
			for (int o = 0; o < REPLICAS && w->r[m].member; o++)
			{
				if (r->rows[m][o] < note->has[o])
					return;
			}
		}
		r->stable++;
	}
}

/* True if the present set of a replica is stable, and its versions are in the vectors of all writes to come. */
static bool
is_stable(const Replica *r)
{
	const Note *note;

	if (r->stable == 0)
		return false;
	note = &r->notes[r->stable - 1];
	for (int k = 0; k < r->set->n; k++)
	{
		Version		v = r->set->items[k].version;

		if (!version_is_oldest(v) && v.ts > note->through[v.node - 1])
			return false;
	}
	return note->changes == r->changes;
}

/* Forgets, or loses, what is stable. */
static void
forget(int i)
{
	Replica    *r = &w->r[i];

	if (r->young && r->mergeable && r->stable > r->policy_note)
	{
		/* all have the policy, so all plain writes are here; then all have to have these */
		if (r->last_wait || is_broken("plain_stable"))
			r->young = false;
		r->last_wait = true;
		r->policy_note = r->nnotes;
	}
	if (!is_stable(r) || r->set->n != 1)
		return;
	if (r->set->items[0].deleted)
	{
		r->forgotten = id_of(&r->set->items[0]);
		r->set->n = 0;
	}
	else if (!r->stored)
		r->set->items[0].version = VERSION_OLDEST;
}

/* A new member copies another one. */
static void
join(int i, int source)
{
	Replica    *r = &w->r[i];
	const Replica *s = &w->r[source];
	int			skew = r->skew;

	if (s->mergeable != (s->mergeable && !s->young))
		return;					/* the copy has the set of such a table as it is: no other case */
	*r = *s;
	r->skew = skew;
	r->member = true;
	r->nnotes = r->stable = 0;
	r->set = sibling_set_create();
	for (int k = 0; k < s->set->n; k++)
		sibling_add(r->set, s->set->items[k]);
	if (!s->mergeable || r->set->n != 1 || r->set->items[0].deleted)
		return;
	if (is_stable(s) || is_broken("join"))
		r->set->items[0].version = VERSION_OLDEST;
	else
		r->stored = true;
}

/* True if a replica knows a write. */
static const Event *
known_event(int i, int id)
{
	for (int o = 0; o < REPLICAS; o++)
	{
		for (int k = 0; k < w->r[i].has[o]; k++)
		{
			if (w->log[o][k]->id == id)
				return w->log[o][k];
		}
	}
	return NULL;
}

/* True if by definition a write is one of a replica's siblings. */
static bool
should_be_there(int i, int id)
{
	const Event *e = known_event(i, id);

	if (!e)
		return false;
	for (int o = 0; o < REPLICAS; o++)
	{
		for (int k = 0; k < w->r[i].has[o]; k++)
		{
			const Event *x = w->log[o][k];

			if (x->kind != EVENT_WRITE || x->id == id)
				continue;
			if (x->removed[id])
				return false;
			/* of plain writes the greatest, if no mergeable one is greater */
			if (w->plain_id[id] && !x->kept[id] && version_cmp(x->version, e->version) > 0)
				return false;
		}
	}
	return true;
}

/* Compares a replica with the definition; returns a complaint or NULL. */
static char *
check_replica(int i)
{
	const Replica *r = &w->r[i];

	for (int id = 1; id <= w->nwrites; id++)
	{
		bool		there = false;
		const Event *e;

		for (int k = 0; k < r->set->n; k++)
			there |= id_of(&r->set->items[k]) == id;
		if (there == should_be_there(i, id))
			continue;
		/* a delete that all have seen is forgotten */
		e = known_event(i, id);
		if (!there && e && e->deleted && r->set->n == 0)
			continue;
		return psprintf("replica %d %s write %d (" INT64_FORMAT "/%d)", i + 1, there ? "has" : "lacks", id,
						w->version_of[id].ts, w->version_of[id].node);
	}
	return NULL;
}

/* A client reads somewhere, and writes where that is known. */
static void
write_as_client(int i)
{
	int			source = draw(REPLICAS);
	Replica    *s = &w->r[source];
	Version		read[LOG_MOST];
	int			n = 0;

	if (!w->r[i].mergeable || w->r[i].young || !s->member)
		return;
	for (int q = 0; q < REPLICAS; q++)
	{
		if (w->r[i].has[q] < s->has[q])
			return;
	}
	for (int k = 0; k < s->set->n && n < LOG_MOST; k++)
	{
		if (draw(4) > 0)
			read[n++] = s->set->items[k].version;
	}
	write_row(i, read, n);
}

/* One step of a history. */
static void
step(void)
{
	int			i = draw(REPLICAS);
	Replica    *r = &w->r[i];
	int			x = draw(100);

	w->now += 1 + draw(3);
	if (draw(80) == 0)
		w->quiet = !w->quiet;
	if (w->quiet && x < 20)
		x += 20;
	if (!r->member)
	{
		int			source = draw(REPLICAS);

		if (x < 10 && w->r[source].member)
			join(i, source);
		return;
	}
	if (w->n[i] + 4 < LOG_MOST && x < 45)
	{
		if (x < 9)
			write_row(i, NULL, 0);
		else if (x < 20)
			write_as_client(i);
		else if (x < 42)
		{
			Event	   *e = new_event(i, EVENT_FRONTIER);

			e->through = r->clock = Max(w->now + r->skew, r->clock);
			memcpy(e->row, r->has, sizeof(e->row));
			e->row[i]++;
			commit_event(i, e);
		}
		else if (!r->mergeable)
			commit_event(i, new_event(i, EVENT_POLICY));
		return;
	}
	if (x < 55)
	{
		note_and_advance(i);
		forget(i);
		return;
	}
	for (int k = 0; k < (w->quiet ? 12 : 3); k++)
	{
		int			o = draw(REPLICAS);

		if (is_deliverable(i, o))
			apply_event(i, o, w->log[o][r->has[o]]);
	}
}

/* Delivers everything. */
static void
drain(void)
{
	bool		moved = true;

	while (moved)
	{
		moved = false;
		for (int i = 0; i < REPLICAS; i++)
		{
			for (int o = 0; o < REPLICAS && w->r[i].member; o++)
			{
				while (is_deliverable(i, o))
				{
					apply_event(i, o, w->log[o][w->r[i].has[o]]);
					moved = true;
				}
			}
		}
	}
}

/* One history; NULL or what is wrong. */
static char *
run_history(uint64 seed, const char *broken)
{
	int			steps;
	char	   *complaint = NULL;

	w = palloc0(sizeof(World));
	w->broken = broken;
	pg_prng_seed(&w->prng, seed);
	w->now = 1000;
	for (int i = 0; i < REPLICAS; i++)
	{
		w->r[i].member = i < 3;
		w->r[i].skew = draw(3) == 0 ? draw(200) : 0;
		w->r[i].set = sibling_set_create();
	}
	steps = 20 + draw(600);
	for (int k = 0; k < steps && !complaint; k++)
	{
		step();
		for (int i = 0; i < REPLICAS && !complaint; i++)
		{
			if (w->r[i].member)
				complaint = check_replica(i);
		}
	}
	if (!complaint)
		drain();
	for (int i = 0; i < REPLICAS && !complaint; i++)
	{
		if (w->r[i].member)
			complaint = check_replica(i);
	}
	return complaint;
}

/*
 * unit_siblings(first_seed bigint, histories int, broken text) → text: "none", or the first history that fails.
 */
Datum
unit_siblings(PG_FUNCTION_ARGS)
{
	int64		first = PG_GETARG_INT64(0);
	int			n = PG_GETARG_INT32(1);
	char	   *broken = text_to_cstring(PG_GETARG_TEXT_PP(2));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "history", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		char	   *complaint;

		CHECK_FOR_INTERRUPTS();
		complaint = run_history(first + i, broken);
		MemoryContextSwitchTo(old);
		if (complaint)
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("seed " INT64_FORMAT ": %s", first + i, complaint)));
		MemoryContextReset(context);
	}
	PG_RETURN_TEXT_P(cstring_to_text("none"));
}
