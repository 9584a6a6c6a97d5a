/*
 * merge_items.h
 *		The items of sets and maps, each with the version that wrote it.
 *
 * merge_items.c has what sets and maps have in common: states, ops, and which writes have seen
 * which. merge_set.c and merge_map.c split a value into items, and join items to a value.
 */
#ifndef REPLICATION_PLUGIN_MERGE_ITEMS_H
#define REPLICATION_PLUGIN_MERGE_ITEMS_H

#include "model/merge_kinds.h"

/*
 * An element of a set, or the mark that the set is NULL; or a leaf of a map, whose key is its path:
 * names, each with a terminating zero.
 */
typedef struct MergeItem
{
	Version		dot;			/* the write that added it */
	uint32		pos;			/* its position among the items that this write added */
	int			keylen;			/* 0 for elements, 1 for the mark */
	const char *key;
	int			len;			/* of its text; -1: null */
	const char *data;
	Datum		value;			/* elements only, filled in by merge_set.c */
	uint32		hash;
} MergeItem;

typedef struct MergeItems
{
	int			n;
	int			room;
	MergeItem  *list;
} MergeItems;

/* Appends an item (merge_read.c). */
extern void merge_items_add(MergeItems *items, MergeItem item);

/* Split a value into items, without versions and positions. SQL NULL is an item too. */
extern void merge_set_split(const MergeColumn *c, Datum value, bool isnull, MergeItems *items);
extern void merge_map_split(const MergeColumn *c, Datum value, bool isnull, MergeItems *items);

/* Compute which items an update from one value to another removes and adds. */
extern void merge_set_diff(const MergeColumn *c, MergeItems *old, MergeItems *new,
						   MergeItems *removed, MergeItems *added);
extern void merge_map_diff(MergeItems *old, MergeItems *new, MergeItems *removed,
						   MergeItems *added);

/* Return for each item whether an op that removed and added other items was about it; palloc'd. */
extern bool *merge_set_touched(const MergeColumn *c, MergeItems *items, MergeItems *removed,
							   MergeItems *added);
extern bool *merge_map_touched(MergeItems *items, const MergeItems *removed,
							   const MergeItems *added);

/* Join items to a value. The order of the items may change. */
extern Datum merge_set_join(const MergeColumn *c, MergeItems *items, bool *isnull);
extern Datum merge_map_join(MergeItems *items, bool *isnull);

#endif							/* REPLICATION_PLUGIN_MERGE_ITEMS_H */
