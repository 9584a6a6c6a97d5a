/*
 * merge_columns.h
 *		Computes the merged columns of a row: model/merge.h for all of them at once.
 */
#ifndef REPLICATION_PLUGIN_MERGE_COLUMNS_H
#define REPLICATION_PLUGIN_MERGE_COLUMNS_H

#include "merge/merge_table.h"
#include "wire/wire.h"

/* The result of a write to the merged columns; arrays in the order of the table's policy. */
typedef struct MergedColumns
{
	int			n;
	ColumnState *states;		/* to be stored */
	/*
	 * to be sent: column is the position among the columns sent; no bytes if the write did not
	 * change it
	 */
	WireMerge  *ops;
	Datum	   *values;			/* to be shown, if the row is shown */
	bool	   *nulls;
	bool		rewrite;		/* values differ from those that were written */
	bool		clamped;		/* a counter exceeds its type */
} MergedColumns;

/* The row that is, or was, shown before a write. */
typedef struct ShownRow
{
	TupleTableSlot *row;		/* of the table; NULL: none */
	Version		version;		/* of its newest sibling */
} ShownRow;

/*
 * Computes a write of this node. row: NULL for a delete. is_insert: the write is not a change of
 * the shown row.
 */
extern void merge_columns_local(MergeTable *t, const RowState *found, const ShownRow *shown,
								TupleTableSlot *row, bool is_insert, const Frontier *seen,
								MergedColumns *out);

/*
 * Computes a write of another node. ops: its column merges by attribute number. A merged column
 * without an operation was written by a node that did not know of the merge.
 */
extern void merge_columns_apply(MergeTable *t, const RowState *found, const ShownRow *shown,
								TupleTableSlot *row, const WireMerge *ops, int nops,
								Version version, bool plain, const Frontier *seen,
								MergedColumns *out);

/* Computes what the states show, without a write. */
extern void merge_columns_values(MergeTable *t, const RowState *found, const ShownRow *shown,
								 MergedColumns *out);

/*
 * Makes the states of a row that is not shown contain what the row would contain. Call it after a
 * put, or after a delete of the shown row.
 */
extern void merge_columns_keep(MergeTable *t, Version version, MergedColumns *out);

/* Stores the values in a virtual row. */
extern void merge_columns_show(const TablePolicy *policy, const MergedColumns *merged,
							   TupleTableSlot *row);

#endif							/* REPLICATION_PLUGIN_MERGE_COLUMNS_H */
