/*
 * merge_items.h
 *		What sets and maps are made of: items, each with the version that wrote it.
 *
 * merge_items.c has what sets and maps have in common: states, ops, who has seen what. How a value
 * falls into items, and what items make of a value, is in merge_set.c and merge_map.c.
 */
#ifndef REPLICATION_PLUGIN_MERGE_ITEMS_H
#define REPLICATION_PLUGIN_MERGE_ITEMS_H

#include "model/merge_kinds.h"

/*
 * An element of a set, or the mark that it is NULL; or a leaf of a map, whose key is its path:
 * names, each with a zero behind it.
 */
typedef struct MergeItem
{
	Version		dot;			/* the write that added it */
	uint32		pos;			/* its place among what that write added */
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

/* Items of a value, without versions and places. SQL NULL is an item too. */
extern void merge_set_split(const MergeColumn *c, Datum value, bool isnull, MergeItems *items);
extern void merge_map_split(const MergeColumn *c, Datum value, bool isnull, MergeItems *items);

/* What an update from one value to another takes away and puts there. */
extern void merge_set_diff(const MergeColumn *c, MergeItems *old, MergeItems *new, MergeItems *removed, MergeItems *added);
extern void merge_map_diff(MergeItems *old, MergeItems *new, MergeItems *removed, MergeItems *added);

/* For each item, whether an op that removed and added others was about it. */
extern bool *merge_set_touched(const MergeColumn *c, MergeItems *items, MergeItems *removed, MergeItems *added);
extern bool *merge_map_touched(MergeItems *items, const MergeItems *removed, const MergeItems *added);

/* The value that items make. They may be put in another order. */
extern Datum merge_set_join(const MergeColumn *c, MergeItems *items, bool *isnull);
extern Datum merge_map_join(MergeItems *items, bool *isnull);

#endif							/* REPLICATION_PLUGIN_MERGE_ITEMS_H */
