/*
 * row_state.h
 *		The siblings of a row of a mergeable table, where they are more than what the table shows.
 *
 * Invariant: who changes a row's state also writes its heap row in the same transaction, if there is one. So the heap
 * row is the lock of both.
 */
#ifndef REPLICATION_PLUGIN_ROW_STATE_H
#define REPLICATION_PLUGIN_ROW_STATE_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "catalog/table_policy.h"
#include "conflict/tombstone.h"
#include "model/sibling.h"

/* How rows of one table are kept and sent: all columns that are neither dropped nor generated, in their order. Opaque. */
typedef struct RowCodec RowCodec;

extern RowCodec *row_codec(Relation rel);	/* in CurrentMemoryContext */

/* Appends a row as a wire tuple in internal form. */
extern void row_encode(RowCodec *codec, TupleTableSlot *slot, StringInfo out);

/* Makes such a row; columns that it does not have are null. The slot is a virtual one of the table. */
extern void row_decode(RowCodec *codec, const Sibling *s, TupleTableSlot *slot);

/* A sibling of a version with that row, or without one (NULL): a delete. In CurrentMemoryContext. */
extern Sibling row_sibling(RowCodec *codec, Version version, TupleTableSlot *slot);

/* A row's state as it was found. */
typedef struct RowState
{
	bool		stored;			/* else the set is empty, and the row, if there is one, is its only sibling */
	ItemPointerData tid;
	SiblingSet *set;			/* versions resolved; what own writes have is VERSION_SELF */
} RowState;

/*
 * Looks a key's state up. Waits for transactions that are writing one. The memory of what is found lives in CurrentMemoryContext.
 * own: the version of the running transaction (VERSION_SELF, or of the one that is being applied).
 */
extern void row_state_find(TombstoneKeys *keys, const Datum *key, Version own, RowState *state);

/* True if a set is just what the table shows: one live value that its own transaction wrote there. */
extern bool row_state_is_implied(const SiblingSet *set, bool young);

/* The same, as a snapshot shows it, without waiting. Returns whether one is stored. */
extern bool row_state_visible(TombstoneKeys *keys, const Datum *key, Snapshot snapshot, RowState *state);

/* Keys of a table's rows that have at least so many siblings stored, as stored: a List of bytea *. */
extern List *row_state_keys(Oid relid, Snapshot snapshot, int least);

/*
 * Stores a set in the place of what was found, or nothing if the set is empty. Returns false if somebody else was
 * faster: then what was found is old.
 */
extern bool row_state_store(TombstoneKeys *keys, const Datum *key, const RowState *found, const SiblingSet *set);

#endif							/* REPLICATION_PLUGIN_ROW_STATE_H */
