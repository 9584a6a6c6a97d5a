/*
 * merge_table.h
 *		Handles mergeable tables: the siblings of their rows, and what the heap shows of them.
 */
#ifndef REPLICATION_PLUGIN_MERGE_TABLE_H
#define REPLICATION_PLUGIN_MERGE_TABLE_H

#include "catalog/table_policy.h"
#include "merge/resolve.h"
#include "store/row_state.h"
#include "store/tombstone.h"

typedef struct MergeTable
{
	TablePolicy policy;
	TombstoneKeys *keys;
	int			nkeys;
	AttrNumber *key_attnums;	/* in key index order */
	RowCodec   *codec;
	MergeColumn *merges;		/* of the policy's columns */
} MergeTable;

struct MergedColumns;

/* Returns the description of a mergeable table, allocated in CurrentMemoryContext. */
extern MergeTable *merge_table_open(Relation rel);

/* Sets key to the key values of a row. */
extern void merge_table_key(MergeTable *t, TupleTableSlot *row, Datum *key);

/*
 * Finds the row of a key that a snapshot shows, and stores it in a slot of the table. Returns false
 * if there is none.
 */
extern bool merge_table_find_row(Relation rel, const Datum *key, Snapshot snapshot,
								 TupleTableSlot *slot);

/* Returns the version of a row that the table shows and that has no stored state. */
extern Version merge_table_shown_version(MergeTable *t, const Datum *key, TupleTableSlot *row,
										 Version own);

/*
 * Returns the siblings of a key: the stored ones (found says so), or else the row that is, or just
 * was, in the table (NULL: none). own: the version of the running transaction. rows: the row of a
 * sibling that is not stored is needed, too.
 */
extern SiblingSet *merge_table_siblings(MergeTable *t, Relation rel, const Datum *key,
										TupleTableSlot *row, Version own, RowState *found,
										bool rows);

/*
 * Stores the resulting siblings, unless the row implies them. Returns false if another transaction
 * was first.
 */
extern bool merge_table_store(MergeTable *t, const Datum *key, const RowState *found,
							  const SiblingSet *set, const struct MergedColumns *merged);

/*
 * Does the same for a row whose siblings show something, but which is parked (store/parked.h). All
 * siblings are stored, and everything that the row had of merged columns. shown: the version of the
 * row. Changes *merged.
 */
extern bool merge_table_store_parked(MergeTable *t, const Datum *key, const RowState *found,
									 const SiblingSet *set, struct MergedColumns *merged,
									 Version shown);

/* Stores the state of a row in that way, before the row, which the table shows, is parked. */
extern void merge_table_park(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *row,
							 Version own);

/*
 * Computes what a parked row would show, and stores it in a virtual slot of the table. Returns
 * false if it would show nothing. version: set to that of its newest sibling.
 */
extern bool merge_table_parked(MergeTable *t, Relation rel, const Datum *key,
							   TupleTableSlot *result, Version *version);

/*
 * Makes the table show the result of the siblings and merged columns. row: what the table shows now
 * (NULL: nothing), locked by this transaction. No triggers fire, and nothing is sent.
 */
extern void merge_table_show(MergeTable *t, Relation rel, const SiblingSet *set,
							 const struct MergedColumns *merged, TupleTableSlot *row);

/*
 * Makes all rows of a table with several siblings show their result under its (new) policy. Locks
 * out writers.
 */
extern void merge_table_show_all(Oid relid);

#endif							/* REPLICATION_PLUGIN_MERGE_TABLE_H */
