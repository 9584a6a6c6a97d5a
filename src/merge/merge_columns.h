/*
 * merge_columns.h
 *		The merged columns of a row: model/merge.h for all of them at once.
 */
#ifndef REPLICATION_PLUGIN_MERGE_COLUMNS_H
#define REPLICATION_PLUGIN_MERGE_COLUMNS_H

#include "merge/merge_table.h"
#include "wire/wire.h"

/* What a write makes of the merged columns; arrays in the order of the table's policy. */
typedef struct MergedColumns
{
	int			n;
	ColumnState *states;		/* to be stored */
	/* to be sent: place among the columns sent; no bytes: the write left it alone */
	WireMerge  *ops;
	Datum	   *values;			/* to be shown, if the row is */
	bool	   *nulls;
	bool		rewrite;		/* values are not what was written */
	bool		clamped;		/* a counter is beyond its type */
} MergedColumns;

/* The row that is, or was, shown before a write. */
typedef struct ShownRow
{
	TupleTableSlot *row;		/* of the table, NULL: none */
	Version		version;		/* of its newest sibling */
} ShownRow;

/*
 * A write of this node: row, or NULL if it is deleted. is_insert: it is no change of what was
 * shown.
 */
extern void merge_columns_local(MergeTable *t, const RowState *found, const ShownRow *shown, TupleTableSlot *row,
								bool is_insert, const Frontier *seen, MergedColumns *out);

/*
 * A write of another node. ops: its column merges by attribute number; a merged column that is not
 * among them was written by a node that did not know of the merge.
 */
extern void merge_columns_apply(MergeTable *t, const RowState *found, const ShownRow *shown, TupleTableSlot *row,
								const WireMerge *ops, int nops, Version version, bool plain, const Frontier *seen,
								MergedColumns *out);

/* What the states show, without a write. */
extern void merge_columns_values(MergeTable *t, const RowState *found, const ShownRow *shown, MergedColumns *out);

/*
 * After a put, or a delete of what was shown: the row is not shown. Its states then hold what the
 * row would.
 */
extern void merge_columns_keep(MergeTable *t, Version version, MergedColumns *out);

/* Puts the values into a virtual row. */
extern void merge_columns_show(const TablePolicy *policy, const MergedColumns *merged, TupleTableSlot *row);

#endif							/* REPLICATION_PLUGIN_MERGE_COLUMNS_H */
