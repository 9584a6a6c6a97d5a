/*
 * frontier.c
 *		A version vector: for each origin node, how far its transactions are known.
 *
 * Invariant: entries are sorted by node, without duplicates. An entry never decreases, except by
 * frontier_set_lsn(). So merging is commutative, associative and idempotent.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/number_text.h"
#include "model/frontier.h"

Frontier *
frontier_create(void)
{
	Frontier   *f = palloc0(sizeof(Frontier));

	f->capacity = 8;
	f->entries = palloc(f->capacity * sizeof(FrontierEntry));
	return f;
}

void
frontier_clear(Frontier *f)
{
	f->n = 0;
}

void
frontier_free(Frontier *f)
{
	pfree(f->entries);
	pfree(f);
}

/* Returns the index of a node's entry, or the index at which it belongs. */
static int
frontier_search(const Frontier *f, NodeId node)
{
	int			lo = 0,
				hi = f->n;

	while (lo < hi)
	{
		int			mid = (lo + hi) / 2;

		if (f->entries[mid].node < node)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Returns the entry of a node; NULL if there is none. */
static const FrontierEntry *
frontier_find(const Frontier *f, NodeId node)
{
	int			i = frontier_search(f, node);

	return i < f->n && f->entries[i].node == node ? &f->entries[i] : NULL;
}

bool
frontier_raise(Frontier *f, NodeId node, XLogRecPtr lsn, TimestampTz ts)
{
	int			i = frontier_search(f, node);
	FrontierEntry *e;
	bool		rose = false;

	if (i == f->n || f->entries[i].node != node)
	{
		if (f->n == f->capacity)
		{
			f->capacity *= 2;
			f->entries = repalloc(f->entries, f->capacity * sizeof(FrontierEntry));
		}
		memmove(&f->entries[i + 1], &f->entries[i], (f->n - i) * sizeof(FrontierEntry));
		f->n++;
		f->entries[i] = (FrontierEntry) {node, lsn, ts};
		return true;
	}
	e = &f->entries[i];
	if (lsn > e->lsn)
	{
		e->lsn = lsn;
		rose = true;
	}
	if (ts > e->ts)
	{
		e->ts = ts;
		rose = true;
	}
	return rose;
}

void
frontier_set_lsn(Frontier *f, NodeId node, XLogRecPtr lsn)
{
	frontier_raise(f, node, lsn, PG_INT64_MIN);
	f->entries[frontier_search(f, node)].lsn = lsn;
}

void
frontier_merge(Frontier *into, const Frontier *from)
{
	for (int i = 0; i < from->n; i++)
		frontier_raise(into, from->entries[i].node, from->entries[i].lsn, from->entries[i].ts);
}

XLogRecPtr
frontier_lsn(const Frontier *f, NodeId node)
{
	const FrontierEntry *e = frontier_find(f, node);

	return e ? e->lsn : InvalidXLogRecPtr;
}

TimestampTz
frontier_ts(const Frontier *f, NodeId node)
{
	const FrontierEntry *e = frontier_find(f, node);

	return e ? e->ts : PG_INT64_MIN;
}

bool
frontier_covers(const Frontier *f, NodeId node, XLogRecPtr lsn)
{
	return frontier_lsn(f, node) >= lsn;
}

char *
frontier_to_text(const Frontier *f)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < f->n; i++)
	{
		const FrontierEntry *e = &f->entries[i];

		appendStringInfo(&buf, "%s%d:%X/%X:", i ? "," : "", e->node, LSN_FORMAT_ARGS(e->lsn));
		if (e->ts == PG_INT64_MIN)
			appendStringInfoChar(&buf, '-');
		else
			appendStringInfo(&buf, INT64_FORMAT, e->ts);
	}
	return buf.data;
}

/* Reads one character and moves *p past it. Returns false if another character is there. */
static bool
frontier_read_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* Reads a timestamp, or "-" for an unknown one. Returns false if malformed. */
static bool
frontier_read_ts(const char **p, TimestampTz *ts)
{
	if (number_read_int64(p, ts))
		return *ts != PG_INT64_MIN;
	*ts = PG_INT64_MIN;
	return frontier_read_char(p, '-');
}

/* Reads one entry "node:hi/lo:ts" and moves *p past it. Returns false if malformed. */
static bool
frontier_read_entry(const char **p, FrontierEntry *e)
{
	uint64		hi,
				lo;

	if (!number_read_node(p, &e->node) || !frontier_read_char(p, ':') ||
		!number_read(p, 16, PG_UINT32_MAX, &hi) || !frontier_read_char(p, '/') ||
		!number_read(p, 16, PG_UINT32_MAX, &lo) || !frontier_read_char(p, ':'))
		return false;
	e->lsn = hi << 32 | lo;
	return frontier_read_ts(p, &e->ts);
}

Frontier *
frontier_from_text(const char *text)
{
	Frontier   *f = frontier_create();
	const char *p = text;
	FrontierEntry e;

	while (*p)
	{
		if (!frontier_read_entry(&p, &e))
			return NULL;
		frontier_raise(f, e.node, e.lsn, e.ts);
		if (*p == ',' && p[1] != '\0')
			p++;
		else if (*p)
			return NULL;
	}
	return f;
}
