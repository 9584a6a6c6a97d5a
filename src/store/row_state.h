/*
 * row_state.h
 *		Stores the siblings of rows of mergeable tables, unless the shown row implies them.
 *
 * Invariant: a transaction that changes the state of a row also writes the heap row, if there is
 * one. The heap row therefore serves as the lock of both.
 */
#ifndef REPLICATION_PLUGIN_ROW_STATE_H
#define REPLICATION_PLUGIN_ROW_STATE_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "catalog/table_policy.h"
#include "model/sibling.h"
#include "store/tombstone.h"

/*
 * How rows of one table are stored and sent: all columns that are neither dropped nor generated, in
 * their order. Opaque.
 */
typedef struct RowCodec RowCodec;

extern RowCodec *row_codec(Relation rel);	/* in CurrentMemoryContext */

/*
 * row_codec_runs_code() returns true if reading a row can run functions of users. row_codec_place()
 * returns the position of a column among those.
 */
extern bool row_codec_runs_code(const RowCodec *codec);
extern int	row_codec_place(RowCodec *codec, AttrNumber attnum);

/* Appends a row as a wire tuple in internal form. */
extern void row_encode(RowCodec *codec, TupleTableSlot *slot, StringInfo out);

/*
 * Reads the row of a sibling into a virtual slot of the table. Columns that the stored row lacks
 * are null, or have their missing values.
 */
extern void row_decode(RowCodec *codec, const Sibling *s, TupleTableSlot *slot);

/*
 * Returns a sibling of this version with this row, allocated in CurrentMemoryContext. slot: NULL
 * for a delete.
 */
extern Sibling row_sibling(RowCodec *codec, Version version, TupleTableSlot *slot);

/* The stored state of a merged column (model/merge.h). */
typedef struct ColumnState
{
	AttrNumber	attnum;
	bytea	   *state;
} ColumnState;

/* The state of a row, as it was found. */
typedef struct RowState
{
	bool		stored;			/* false: all below is empty */
	ItemPointerData tid;
	/* versions are resolved; own writes have VERSION_SELF. Empty: the row is its only sibling */
	SiblingSet *set;
	int			ncolumns;
	ColumnState *columns;		/* resolved likewise */
} RowState;

/*
 * Finds the state of a key. Waits for transactions that are writing one. The result is allocated in
 * CurrentMemoryContext. own: the version of the running transaction (VERSION_SELF, or the version
 * of the transaction being applied).
 */
extern void row_state_find(TombstoneKeys *keys, const Datum *key, Version own, RowState *state);

/*
 * Returns true if a set is implied by the row that the table shows: one live value that its own
 * transaction wrote there.
 */
extern bool row_state_is_implied(const SiblingSet *set, bool young);

/*
 * Finds the state of a key that a snapshot shows, without waiting. Returns true if a state is
 * stored.
 */
extern bool row_state_visible(TombstoneKeys *keys, const Datum *key, Snapshot snapshot,
							  RowState *state);

/* Returns the number of states of a key that are stored or are being written. Does not wait. */
extern int	row_state_count(TombstoneKeys *keys, const Datum *key);

/* Removes all states of a table that is no longer replicated. */
extern void row_state_forget_all(Oid relid);

/*
 * Returns the stored keys of the rows that have at least this many siblings, as a list of bytea *.
 */
extern List *row_state_keys(Oid relid, Snapshot snapshot, int least);

/*
 * Stores a set and the states of merged columns in place of the state that was found, or deletes it
 * if both are empty. Returns false if another transaction was first; then the found state is
 * outdated.
 */
extern bool row_state_store(TombstoneKeys *keys, const Datum *key, const RowState *found,
							const SiblingSet *set, const ColumnState *columns, int ncolumns);

/*
 * Returns true if a stored state can be removed: its siblings, if any, are deletes that a vector of
 * timestamps covers (a node that the vector does not name counts as covered), and the vector also
 * covers the states of merged columns. self: the version of the transaction that stored the state.
 */
extern bool row_state_forgettable(bytea *state, bool live, Version self, const Frontier *through);

#endif							/* REPLICATION_PLUGIN_ROW_STATE_H */
