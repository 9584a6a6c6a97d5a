/*
 * merge_map.c
 *		Maps: jsonb objects that are merged key by key, to any depth, as paths and leaves.
 *
 * A leaf is any value that is not an object with keys: a scalar, an array, or an empty object. A
 * value that is no object at all, or SQL NULL, is one leaf at the empty path. A write is about the
 * paths whose leaves it changes, and about all paths above and below these: it may replace a
 * subtree by a leaf, or the reverse, and one of the two may hide the other.
 *
 * Of the live leaves at a path, the value shows:
 *
 * - of several leaves, the newest;
 * - of a leaf and the leaves below it, whichever has the newest version. But an empty object is an
 *   object, and the leaves below it are in it.
 *
 * A key under which nothing is left is gone. If nothing is left at all, the value is {}.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "model/merge_items.h"

/* ---------- leaves of a value ---------- */

/* Adds a leaf. The path is copied, the text is not. */
static void
add_leaf(MergeItems *items, const StringInfoData *path, const char *text)
{
	MergeItem	item = {.keylen = path->len,.len = -1};

	item.key = memcpy(palloc(path->len + 1), path->data, path->len);
	if (text)
	{
		item.data = text;
		item.len = strlen(text);
	}
	merge_items_add(items, item);
}

/* Returns the text of a value inside an object; palloc'd. */
static const char *
leaf_text(JsonbValue *v)
{
	if (v->type == jbvBinary)
		return JsonbToCString(NULL, v->val.binary.data, v->val.binary.len);
	return JsonbToCString(NULL, &JsonbValueToJsonb(v)->root, 0);
}

/* Adds the leaves of an object with keys. */
static void
split_object(MergeItems *items, StringInfo path, JsonbContainer *object)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	v;
	int			above = path->len;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			path->len = above;
			appendBinaryStringInfo(path, v.val.string.val, v.val.string.len);
			appendStringInfoChar(path, '\0');
		}
		else if (token == WJB_VALUE && v.type == jbvBinary &&
				 JsonContainerIsObject(v.val.binary.data) &&
				 JsonContainerSize(v.val.binary.data) > 0)
			split_object(items, path, v.val.binary.data);
		else if (token == WJB_VALUE)
			add_leaf(items, path, leaf_text(&v));
	}
	path->len = above;
}

void
merge_map_split(const MergeColumn *c, Datum value, bool isnull, MergeItems *items)
{
	Jsonb	   *jb = isnull ? NULL : DatumGetJsonbP(value);
	StringInfoData path;

	initStringInfo(&path);
	if (jb && JB_ROOT_IS_OBJECT(jb) && JB_ROOT_COUNT(jb) > 0)
		split_object(items, &path, &jb->root);
	else
		add_leaf(items, &path, jb ? JsonbToCString(NULL, &jb->root, VARSIZE(jb)) : NULL);
}

/* ---------- paths ---------- */

/* Compares items by path. What is below a path follows it immediately. */
static int
cmp_paths(const void *a, const void *b)
{
	const MergeItem *x = a;
	const MergeItem *y = b;
	int			c = memcmp(x->key, y->key, Min(x->keylen, y->keylen));

	return c != 0 ? c : x->keylen - y->keylen;
}

/* Returns true if a path is an item's path, or above it. */
static bool
is_above(const char *path, int len, const MergeItem *item)
{
	return len <= item->keylen && memcmp(path, item->key, len) == 0;
}

/* Sorts items by path. */
static void
sort_paths(MergeItems *items)
{
	if (items->n > 1)
		qsort(items->list, items->n, sizeof(MergeItem), cmp_paths);
}

/* Returns the index of the first of the sorted items at or after a path. */
static int
lower_bound(const MergeItems *items, const char *path, int len)
{
	MergeItem	wanted = {.key = path,.keylen = len};
	int			lo = 0,
				hi = items->n;

	while (lo < hi)
	{
		int			mid = (lo + hi) / 2;

		if (cmp_paths(&items->list[mid], &wanted) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Returns true if one of the sorted items is at a path or below it. */
static bool
has_below(const MergeItems *items, const char *path, int len)
{
	int			i = lower_bound(items, path, len);

	return i < items->n && is_above(path, len, &items->list[i]);
}

/* Returns the length of an item's path up to one name more than depth. */
static int
next_name(const MergeItem *item, int depth)
{
	return depth + strlen(item->key + depth) + 1;
}

/* Returns true if one of the sorted items is at an item's path or above it. */
static bool
has_above(const MergeItems *items, const MergeItem *item)
{
	for (int len = 0;; len = next_name(item, len))
	{
		int			i = lower_bound(items, item->key, len);

		if (i < items->n && items->list[i].keylen == len &&
			is_above(item->key, len, &items->list[i]))
			return true;
		if (len >= item->keylen)
			return false;
	}
}

/* ---------- differences ---------- */

/* Returns true if a leaf is among the sorted ones, with the same text. */
static bool
has_leaf(const MergeItems *items, const MergeItem *leaf)
{
	int			i = lower_bound(items, leaf->key, leaf->keylen);
	const MergeItem *other = &items->list[i];

	return i < items->n && cmp_paths(other, leaf) == 0 && other->len == leaf->len &&
		(leaf->len < 0 || memcmp(other->data, leaf->data, leaf->len) == 0);
}

/*
 * Notes that a leaf is gone: by the shortest path at which there is nothing now, or by its own path
 * if there are leaves below that now. The new leaves alone would leave other leaves there that it
 * hid.
 */
static void
remove_path(const MergeItems *new, const MergeItem *leaf, MergeItems *removed)
{
	MergeItem	item = {.key = leaf->key,.len = -1};

	while (item.keylen < leaf->keylen && has_below(new, item.key, item.keylen))
		item.keylen = next_name(leaf, item.keylen);
	if (removed->n == 0 || cmp_paths(&removed->list[removed->n - 1], &item) != 0)
		merge_items_add(removed, item);
}

void
merge_map_diff(MergeItems *old, MergeItems *new, MergeItems *removed, MergeItems *added)
{
	sort_paths(old);
	sort_paths(new);
	for (int i = 0; i < old->n; i++)
	{
		if (!has_above(new, &old->list[i]))
			remove_path(new, &old->list[i], removed);
	}
	for (int i = 0; i < new->n; i++)
	{
		if (!has_leaf(old, &new->list[i]))
			merge_items_add(added, new->list[i]);
	}
}

bool *
merge_map_touched(MergeItems *items, const MergeItems *removed, const MergeItems *added)
{
	bool	   *about = palloc(Max(items->n, 1) * sizeof(bool));
	MergeItems	paths = {0};

	for (int i = 0; i < removed->n; i++)
		merge_items_add(&paths, removed->list[i]);
	for (int i = 0; i < added->n; i++)
		merge_items_add(&paths, added->list[i]);
	sort_paths(&paths);
	for (int i = 0; i < items->n; i++)
		about[i] = has_above(&paths, &items->list[i]) ||
				   has_below(&paths, items->list[i].key, items->list[i].keylen);
	return about;
}

/* ---------- the value ---------- */

/* Returns true if a leaf is an object without keys. */
static bool
is_empty_object(const MergeItem *leaf)
{
	return leaf->len == 2 && memcmp(leaf->data, "{}", 2) == 0;
}

/* Returns the newest of some items; NULL if there are none. */
static const MergeItem *
merge_map_newest(const MergeItem *items, int n)
{
	const MergeItem *best = NULL;

	for (int i = 0; i < n; i++)
	{
		if (!best || version_cmp(items[i].dot, best->dot) > 0)
			best = &items[i];
	}
	return best;
}

static void join_path(StringInfo out, const MergeItem *items, int n, int depth);

/* Writes an object, whose members are items with paths longer than depth. */
static void
join_members(StringInfo out, const MergeItem *items, int n, int depth)
{
	appendStringInfoChar(out, '{');
	for (int from = 0, to; from < n; from = to)
	{
		int			len = next_name(&items[from], depth);

		for (to = from + 1; to < n && is_above(items[from].key, len, &items[to]);)
			to++;
		if (from > 0)
			appendStringInfoChar(out, ',');
		escape_json(out, items[from].key + depth);
		appendStringInfoChar(out, ':');
		join_path(out, items + from, to - from, len);
	}
	appendStringInfoChar(out, '}');
}

/*
 * Returns how many of the sorted items are leaves at the path itself, of length depth, that all of
 * them share.
 */
static int
count_here(const MergeItem *items, int n, int depth)
{
	int			here = 0;

	while (here < n && items[here].keylen == depth)
		here++;
	return here;
}

/* Returns the leaf that is shown at a path; NULL if the leaves below it are shown. */
static const MergeItem *
shown_leaf(const MergeItem *items, int n, int depth)
{
	int			here = count_here(items, n, depth);
	const MergeItem *leaf = merge_map_newest(items, here);

	if (leaf && here < n &&
		(is_empty_object(leaf) ||
		 version_cmp(merge_map_newest(items + here, n - here)->dot, leaf->dot) >= 0))
		return NULL;
	return leaf;
}

/* Writes what is shown at a path, whose items are sorted. */
static void
join_path(StringInfo out, const MergeItem *items, int n, int depth)
{
	const MergeItem *leaf = shown_leaf(items, n, depth);
	int			here = count_here(items, n, depth);

	check_stack_depth();
	if (!leaf)
		join_members(out, items + here, n - here, depth);
	else if (leaf->len < 0)
		appendStringInfoString(out, "null");
	else
		appendBinaryStringInfo(out, leaf->data, leaf->len);
}

Datum
merge_map_join(MergeItems *items, bool *isnull)
{
	const MergeItem *leaf;
	StringInfoData text;

	sort_paths(items);
	leaf = shown_leaf(items->list, items->n, 0);
	*isnull = leaf && leaf->len < 0;
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&text);
	join_path(&text, items->list, items->n, 0);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}
