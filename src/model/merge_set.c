/*
 * merge_set.c
 *		Sets: arrays whose elements are compared by the type's own equality.
 *
 * An element is in the set as long as some add of it has not been removed by a writer that had seen
 * the add. The value lists the elements in the order in which they were added: by version, and
 * within one write as the writer listed them. So what a single writer appends stays in its place.
 * An element that the writer puts elsewhere moves to the end.
 *
 * An element is shown as often, and in the form (1.0 or 1.00), as its oldest live add had it. A
 * write that has the element another number of times than shown removes it and adds it. NULL
 * elements are equal to each other.
 *
 * A set that is NULL has a mark instead of elements. NULL is shown while there is a mark and no
 * element. Every write is about the marks that its writer has seen. With neither marks nor
 * elements, the set is empty.
 */
#include "postgres.h"

#include "utils/array.h"

#include "base/pulse.h"
#include "model/merge_items.h"

/*
 * The classes of equal elements, as a hash table of the first element of each, with open
 * addressing. For a type without a hash function they are a list of the first element of each, in
 * the type's order, with a free place after the last.
 */
typedef struct Classes
{
	const MergeColumn *column;
	bool		sorted;
	uint32		mask;			/* sorted: number of classes */
	int		   *first;			/* index + 1 of the first element of the class; 0: free */
	int		   *count;
	const MergeItems *items;
} Classes;

/* ---------- elements ---------- */

/* Returns true for the mark that a set is NULL. */
static bool
is_mark(const MergeItem *item)
{
	return item->keylen > 0;
}

/* Fills in the hash of an element; 0 if the type has no hash function. */
static void
hash_element(const MergeColumn *c, MergeItem *item)
{
	item->hash = 0;
	if (item->len >= 0 && OidIsValid(c->item_hash.fn_oid))
		item->hash = DatumGetUInt32(
						 FunctionCall1Coll((FmgrInfo *) &c->item_hash, c->collation, item->value)) |
					 1;
}

/* Fills in the values and hashes of elements that were read. */
static void
set_values(const MergeColumn *c, MergeItems *items)
{
	for (int i = 0; i < items->n; i++)
	{
		MergeItem  *item = &items->list[i];

		if (item->value == 0 && item->len >= 0)
			item->value = merge_item_from_text(c, pnstrdup(item->data, item->len));
		hash_element(c, item);
	}
}

void
merge_set_split(const MergeColumn *c, Datum value, bool isnull, MergeItems *items)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (isnull)
	{
		merge_items_add(items, (MergeItem) {.key = "",.keylen = 1,.len = -1});
		return;
	}
	deconstruct_array(DatumGetArrayTypeP(value), c->item_type, c->item_len, c->item_byval,
					  c->item_align, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		MergeItem	item = {.len = -1};

		if (!nulls[i])
		{
			item.data = merge_item_to_text(c, elements[i]);
			item.len = strlen(item.data);
			item.value = elements[i];
		}
		merge_items_add(items, item);
	}
}

/* ---------- equality ---------- */

/* Returns true if two elements are equal, or both null, or both marks. */
static bool
is_equal(const MergeColumn *c, const MergeItem *a, const MergeItem *b)
{
	if (a->hash != b->hash || (a->len < 0) != (b->len < 0) || is_mark(a) != is_mark(b))
		return false;
	if (a->len < 0 || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0))
		return true;
	return DatumGetBool(
		FunctionCall2Coll((FmgrInfo *) &c->item_equal, c->collation, a->value, b->value));
}

/* Returns the rank of an element in the order: marks come first, then nulls. */
static int
merge_set_rank(const MergeItem *item)
{
	return is_mark(item) ? 0 : item->len < 0 ? 1 : 2;
}

/* Compares elements in the order of the type. */
static int
cmp_values(const MergeColumn *c, const MergeItem *a, const MergeItem *b)
{
	pulse();
	if (merge_set_rank(a) != merge_set_rank(b) || merge_set_rank(a) < 2)
		return merge_set_rank(a) - merge_set_rank(b);
	return DatumGetInt32(
		FunctionCall2Coll((FmgrInfo *) &c->item_cmp, c->collation, a->value, b->value));
}

/* Returns the index of an element's class in the sorted list; the free place if there is none. */
static uint32
sorted_slot(const Classes *k, const MergeItem *item)
{
	uint32		from = 0,
				to = k->mask;

	while (from < to)
	{
		uint32		middle = from + (to - from) / 2;
		int			c = cmp_values(k->column, &k->items->list[k->first[middle] - 1], item);

		if (c == 0)
			return middle;
		if (c < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return k->mask;
}

/* Returns the slot of an element's class, or the free one where it belongs. */
static uint32
class_slot(const Classes *k, const MergeItem *item)
{
	uint32		slot = (item->hash * 0x9E3779B1) & k->mask;

	if (k->sorted)
		return sorted_slot(k, item);
	while (k->first[slot] && !is_equal(k->column, &k->items->list[k->first[slot] - 1], item))
	{
		pulse();
		slot = (slot + 1) & k->mask;
	}
	return slot;
}

/*
 * For qsort_arg(): compares elements by their indexes. Equal elements keep the order of their
 * indexes.
 */
static int
cmp_places(const void *a, const void *b, void *arg)
{
	const Classes *k = arg;
	int			x = *(const int *) a;
	int			y = *(const int *) b;
	int			c = cmp_values(k->column, &k->items->list[x - 1], &k->items->list[y - 1]);

	return c != 0 ? c : x - y;
}

/* Finds the classes of elements by sorting. */
static void
sort_classes(Classes *k, const MergeColumn *c, const MergeItems *items)
{
	int		   *places = palloc((items->n + 1) * sizeof(int));

	*k = (Classes){c,
				   true,
				   0,
				   palloc0((items->n + 1) * sizeof(int)),
				   palloc0((items->n + 1) * sizeof(int)),
				   items};
	for (int i = 0; i < items->n; i++)
		places[i] = i + 1;
	qsort_arg(places, items->n, sizeof(int), cmp_places, k);
	for (int i = 0; i < items->n; i++)
	{
		if (i == 0 ||
			cmp_values(c, &items->list[places[i] - 1], &items->list[places[i - 1] - 1]) != 0)
			k->first[k->mask++] = places[i];
		k->count[k->mask - 1]++;
	}
	pfree(places);
}

/*
 * Finds the classes of elements. The elements must have their values, and must stay where they are.
 */
static void
make_classes(Classes *k, const MergeColumn *c, const MergeItems *items)
{
	uint32		size = 16;

	if (OidIsValid(c->item_cmp.fn_oid))
	{
		sort_classes(k, c, items);
		return;
	}
	while (size < (uint32) items->n * 2)
		size *= 2;
	*k = (Classes){c,	 false, size - 1, palloc0(size * sizeof(int)), palloc0(size * sizeof(int)),
				   items};
	for (int i = 0; i < items->n; i++)
	{
		uint32		slot = class_slot(k, &items->list[i]);

		if (k->first[slot] == 0)
			k->first[slot] = i + 1;
		k->count[slot]++;
	}
}

/* Returns how many elements are equal to one. */
static int
class_count(const Classes *k, const MergeItem *item)
{
	return k->count[class_slot(k, item)];
}

/* ---------- differences ---------- */

void
merge_set_diff(const MergeColumn *c, MergeItems *old, MergeItems *new, MergeItems *removed,
			   MergeItems *added)
{
	Classes		in_old,
				in_new;

	set_values(c, old);
	set_values(c, new);
	make_classes(&in_old, c, old);
	make_classes(&in_new, c, new);
	for (int i = 0; i < old->n; i++)
	{
		const MergeItem *item = &old->list[i];
		uint32		slot = class_slot(&in_old, item);

		if (in_old.first[slot] == i + 1 && class_count(&in_new, item) != in_old.count[slot])
			merge_items_add(removed, *item);
	}
	for (int i = 0; i < new->n; i++)
	{
		const MergeItem *item = &new->list[i];

		if (class_count(&in_old, item) != class_count(&in_new, item))
			merge_items_add(added, *item);
	}
}

bool *
merge_set_touched(const MergeColumn *c, MergeItems *items, MergeItems *removed, MergeItems *added)
{
	bool	   *about = palloc(Max(items->n, 1) * sizeof(bool));
	Classes		k;

	set_values(c, items);
	set_values(c, removed);
	make_classes(&k, c, removed);
	for (int i = 0; i < items->n; i++)
		about[i] = is_mark(&items->list[i]) || class_count(&k, &items->list[i]) > 0;
	return about;
}

/* ---------- the value ---------- */

/* Compares elements by version, position and text. */
static int
cmp_items(const void *a, const void *b)
{
	const MergeItem *x = a;
	const MergeItem *y = b;
	int			c = version_cmp(x->dot, y->dot);

	if (c == 0)
		c = x->pos < y->pos ? -1 : x->pos > y->pos;
	if (c == 0 && x->len >= 0 && y->len >= 0)
		c = memcmp(x->data, y->data, Min(x->len, y->len));
	return c != 0 ? c : x->len - y->len;
}

Datum
merge_set_join(const MergeColumn *c, MergeItems *items, bool *isnull)
{
	Datum	   *elements = palloc(Max(items->n, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(items->n, 1) * sizeof(bool));
	int			lower = 1;
	int			n = 0;
	Classes		k;

	if (items->n > 1)
		qsort(items->list, items->n, sizeof(MergeItem), cmp_items);
	set_values(c, items);
	make_classes(&k, c, items);
	for (int i = 0; i < items->n; i++)
	{
		const MergeItem *item = &items->list[i];
		const MergeItem *first = &items->list[k.first[class_slot(&k, item)] - 1];

		if (is_mark(item) || version_cmp(first->dot, item->dot) != 0)
			continue;
		nulls[n] = item->len < 0;
		elements[n++] = item->value;
	}
	*isnull = n == 0 && items->n > 0;
	if (*isnull)
		return (Datum) 0;
	if (n == 0)
		return PointerGetDatum(construct_empty_array(c->item_type));
	return PointerGetDatum(construct_md_array(elements, nulls, 1, &n, &lower, c->item_type,
											  c->item_len, c->item_byval, c->item_align));
}
