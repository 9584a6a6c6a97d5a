/*
 * sibling.c
 *		The concurrent values of one row; sibling.h describes what they are.
 */
#include "postgres.h"

#include "model/sibling.h"

SiblingSet *
sibling_set_create(void)
{
	SiblingSet *set = palloc(sizeof(SiblingSet));

	set->n = 0;
	set->capacity = 4;
	set->items = palloc(set->capacity * sizeof(Sibling));
	return set;
}

void
sibling_add(SiblingSet *set, Sibling s)
{
	int			i = set->n;

	if (set->n == set->capacity)
	{
		set->capacity *= 2;
		set->items = repalloc(set->items, set->capacity * sizeof(Sibling));
	}
	for (; i > 0 && version_cmp(set->items[i - 1].version, s.version) < 0; i--)
		set->items[i] = set->items[i - 1];
	set->items[i] = s;
	set->n++;
}

void
sibling_resolve_self(SiblingSet *set, Version self)
{
	for (int i = 0; i < set->n; i++)
	{
		if (version_is_self(set->items[i].version))
		{
			Sibling		s = set->items[i];

			memmove(&set->items[i], &set->items[i + 1], (set->n - i - 1) * sizeof(Sibling));
			set->n--;
			s.version = self;
			sibling_add(set, s);
			return;
		}
	}
}

/* Returns true if a version is in a list. */
static bool
sibling_is_listed(const Version *list, int n, Version v)
{
	for (int i = 0; i < n; i++)
	{
		if (version_cmp(list[i], v) == 0)
			return true;
	}
	return false;
}

/* Returns true if a set has a sibling with the version. */
static bool
has_version(const SiblingSet *set, Version v)
{
	for (int i = 0; i < set->n; i++)
	{
		if (version_cmp(set->items[i].version, v) == 0)
			return true;
	}
	return false;
}

/*
 * Finds out the version of the sibling whose version is lost here, by the context of an arriving
 * write. The writer may still have that version. Then its context names it, because the sibling is
 * live there: this node knows no write that replaces it. All other versions that the context names
 * and this set lacks were written, and replaced here, after the version was lost, at which time all
 * nodes had that sibling. So the version is the least of those that this set lacks.
 */
static void
identify_oldest(SiblingSet *set, const WriteContext *c)
{
	Sibling    *last = set->n > 0 ? &set->items[set->n - 1] : NULL;
	Version		least = VERSION_SELF;

	if (!last || !version_is_oldest(last->version) || c->oldest != OLDEST_ABSENT)
		return;
	for (int i = 0; i < c->nreplaces + c->nkeeps; i++)
	{
		Version		v = i < c->nreplaces ? c->replaces[i] : c->keeps[i - c->nreplaces];

		if (!has_version(set, v) && version_cmp(v, least) < 0)
			least = v;
	}
	if (!version_is_self(least))
		last->version = least;
}

/* Returns true if the writer's vector covers a version. */
static bool
is_seen(const WriteContext *c, Version v)
{
	return version_is_oldest(v) || v.ts <= frontier_ts(c->seen, v.node);
}

/* Returns true if a mergeable write replaces a sibling. */
static bool
sibling_replaces(const WriteContext *c, Version write, const Sibling *s)
{
	if (version_cmp(s->version, write) == 0)
		return true;			/* a later write of the same transaction */
	if (sibling_is_listed(c->replaces, c->nreplaces, s->version))
		return true;
	if (c->exact && (sibling_is_listed(c->keeps, c->nkeeps, s->version) ||
					 (c->oldest == OLDEST_KEPT && is_seen(c, s->version))))
		return false;
	if (s->plain && version_cmp(s->version, write) < 0)
		return true;
	if (c->exact && c->oldest != OLDEST_REPLACED)
		return false;
	return is_seen(c, s->version);
}

/* Removes the siblings that a mergeable write replaces. */
static void
remove_replaced(SiblingSet *set, const WriteContext *c, Version write)
{
	int			kept = 0;

	for (int i = 0; i < set->n; i++)
	{
		if (!sibling_replaces(c, write, &set->items[i]))
			set->items[kept++] = set->items[i];
	}
	set->n = kept;
}

/*
 * Merges a plain write. Of all plain writes the greatest stays, unless a mergeable one is greater.
 * Returns false if the write changes nothing.
 */
static bool
merge_plain(SiblingSet *set, Sibling write)
{
	int			kept = 0;

	for (int i = 0; i < set->n; i++)
	{
		if (version_cmp(set->items[i].version, write.version) > 0)
			return false;
	}
	for (int i = 0; i < set->n; i++)
	{
		if (!set->items[i].plain)
			set->items[kept++] = set->items[i];
	}
	set->n = kept;
	sibling_add(set, write);
	return true;
}

bool
sibling_merge(SiblingSet *set, const WriteContext *context, Sibling write)
{
	write.plain = context->plain;
	if (context->plain)
		return merge_plain(set, write);
	if (context->exact)
		identify_oldest(set, context);
	remove_replaced(set, context, write.version);
	sibling_add(set, write);
	return true;
}

bool
sibling_just_deleted(const SiblingSet *set)
{
	for (int i = 0; i < set->n; i++)
	{
		if (!set->items[i].deleted)
			return false;
	}
	return set->n > 0;
}

void
sibling_context(WriteContext *context, const SiblingSet *set, const Frontier *seen,
				const Version *read, int nread)
{
	memset(context, 0, sizeof(*context));
	/*
	 * A deleted row has nothing to keep. Its delete may be forgotten on this node and not on
	 * others: the vector covers it.
	 */
	context->exact = read != NULL && set->n > 0 && !sibling_just_deleted(set);
	context->seen = seen;
	context->replaces = palloc(Max(set->n, 1) * sizeof(Version));
	context->keeps = palloc(Max(set->n, 1) * sizeof(Version));
	for (int i = 0; i < set->n; i++)
	{
		Version		v = set->items[i].version;
		bool		replaced = !context->exact || sibling_is_listed(read, nread, v);

		if (version_is_self(v))
			continue;			/* receivers see that it is of the same transaction */
		if (version_is_oldest(v))
			context->oldest = replaced ? OLDEST_REPLACED : OLDEST_KEPT;
		else if (replaced)
			context->replaces[context->nreplaces++] = v;
		else
			context->keeps[context->nkeeps++] = v;
	}
}
