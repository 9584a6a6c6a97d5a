/*
 * row_state.h
 *		The siblings of a row of a mergeable table, where they are more than what the table shows.
 *
 * Invariant: who changes a row's state also writes its heap row in the same transaction, if there
 * is one. So the heap row is the lock of both.
 */
#ifndef REPLICATION_PLUGIN_ROW_STATE_H
#define REPLICATION_PLUGIN_ROW_STATE_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "catalog/table_policy.h"
#include "model/sibling.h"
#include "store/tombstone.h"

/*
 * How rows of one table are kept and sent: all columns that are neither dropped nor generated, in
 * their order. Opaque.
 */
typedef struct RowCodec RowCodec;

extern RowCodec *row_codec(Relation rel);	/* in CurrentMemoryContext */

/* Place of a column among those. */
/* reading a row can run functions of users */
extern bool row_codec_runs_code(const RowCodec *codec);
extern int	row_codec_place(RowCodec *codec, AttrNumber attnum);

/* Appends a row as a wire tuple in internal form. */
extern void row_encode(RowCodec *codec, TupleTableSlot *slot, StringInfo out);

/*
 * Makes such a row; columns that it does not have are null. The slot is a virtual one of the table.
 */
extern void row_decode(RowCodec *codec, const Sibling *s, TupleTableSlot *slot);

/*
 * A sibling of a version with that row, or without one (NULL): a delete. In CurrentMemoryContext.
 */
extern Sibling row_sibling(RowCodec *codec, Version version, TupleTableSlot *slot);

/* What is kept of a merged column (model/merge.h). */
typedef struct ColumnState
{
	AttrNumber	attnum;
	bytea	   *state;
} ColumnState;

/* A row's state as it was found. */
typedef struct RowState
{
	bool		stored;			/* else all below is empty */
	ItemPointerData tid;
	/*
	 * versions resolved; what own writes have is VERSION_SELF. Empty: the row is its only sibling
	 */
	SiblingSet *set;
	int			ncolumns;
	ColumnState *columns;		/* resolved likewise */
} RowState;

/*
 * Looks a key's state up. Waits for transactions that are writing one. The memory of what is found
 * lives in CurrentMemoryContext. own: the version of the running transaction (VERSION_SELF, or of
 * the one that is being applied).
 */
extern void row_state_find(TombstoneKeys *keys, const Datum *key, Version own, RowState *state);

/*
 * True if a set is just what the table shows: one live value that its own transaction wrote there.
 */
extern bool row_state_is_implied(const SiblingSet *set, bool young);

/* The same, as a snapshot shows it, without waiting. Returns whether one is stored. */
extern bool row_state_visible(TombstoneKeys *keys, const Datum *key, Snapshot snapshot, RowState *state);

/* How many states are stored for a key, or are being written; nobody is waited for. */
extern int	row_state_count(TombstoneKeys *keys, const Datum *key);

/* Forgets all states of a table: its rows are not replicated any more. */
extern void row_state_forget_all(Oid relid);

/*
 * Keys of a table's rows that have at least so many siblings stored, as stored: a List of bytea *.
 */
extern List *row_state_keys(Oid relid, Snapshot snapshot, int least);

/*
 * Stores a set and the merged columns' states in the place of what was found, or nothing if both
 * are empty. Returns false if somebody else was faster: then what was found is old.
 */
extern bool row_state_store(TombstoneKeys *keys, const Datum *key, const RowState *found, const SiblingSet *set,
							const ColumnState *columns, int ncolumns);

/*
 * True if a stored state can be forgotten: its values, if any, are deletes, and a vector of
 * timestamps covers these (all that there is of a node which it does not name) and what is kept of
 * merged columns. self: version of the transaction that stored it.
 */
extern bool row_state_forgettable(bytea *state, bool live, Version self, const Frontier *through);

#endif							/* REPLICATION_PLUGIN_ROW_STATE_H */
