/*
 * merge_table.h
 *		A mergeable table: its rows' siblings, and what its heap shows of them.
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

/* What is needed of a mergeable table; in CurrentMemoryContext. */
extern MergeTable *merge_table_open(Relation rel);

/* Takes the key values out of a row. */
extern void merge_table_key(MergeTable *t, TupleTableSlot *row, Datum *key);

/* The row of a key that a snapshot shows, into a slot of the table; false if there is none. */
extern bool merge_table_find_row(MergeTable *t, Relation rel, const Datum *key, Snapshot snapshot, TupleTableSlot *slot);

/* The version of a row that the table shows, where it has no state. */
extern Version merge_table_shown_version(MergeTable *t, const Datum *key, TupleTableSlot *row, Version own);

/*
 * The siblings of a key: what is stored (found says), else the row that is, or just was, in the
 * table (NULL: none). own: the version of the running transaction. rows: the rows of what is not
 * stored are wanted, too.
 */
extern SiblingSet *merge_table_siblings(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *row,
										Version own, RowState *found, bool rows);

/* Stores what became of them, unless the row says it all; false if somebody else was faster. */
extern bool merge_table_store(MergeTable *t, const Datum *key, const RowState *found, const SiblingSet *set,
							  const struct MergedColumns *merged);

/*
 * The same for a row that has siblings to show, but is parked (store/parked.h): all of them are
 * stored, and all that the row held of merged columns. shown: the version of the row. merged is
 * changed.
 */
extern bool merge_table_store_parked(MergeTable *t, const Datum *key, const RowState *found, const SiblingSet *set,
									 struct MergedColumns *merged, Version shown);

/* Before a row that the table shows is parked: stores its state like that. */
extern void merge_table_park(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *row, Version own);

/*
 * What a parked row would show, into a virtual slot of the table; false: nothing. version: that of
 * its newest sibling.
 */
extern bool merge_table_parked(MergeTable *t, Relation rel, const Datum *key, TupleTableSlot *result, Version *version);

/*
 * Has the table show what the siblings and merged columns make. row: what it shows now (NULL:
 * nothing), locked by this transaction. Neither triggers fire nor is anything sent.
 */
extern void merge_table_show(MergeTable *t, Relation rel, const SiblingSet *set, const struct MergedColumns *merged,
							 TupleTableSlot *row);

/*
 * Has all rows of a table with several siblings show what its policy, a new one, makes of them.
 * Locks out writers.
 */
extern void merge_table_show_all(Oid relid);

#endif							/* REPLICATION_PLUGIN_MERGE_TABLE_H */
