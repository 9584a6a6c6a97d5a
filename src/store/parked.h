/*
 * parked.h
 *		Rows whose place a newer row has taken, and versions that stored rows do not show.
 *
 * A row is parked when a newer one has the same value in another unique key, or overlaps it by an
 * exclusion constraint. What a table shows of its rows is chosen by version from the newest down: a
 * pure function of the rows, whatever the order in which they came. apply/place.c decides; here is
 * what it remembers.
 *
 * Lock: who parks rows of a table, lets them come back or pins them holds parked_lock()
 * exclusively; who only applies to a table with contested keys holds it shared. So what is read
 * here is what is true until commit.
 */
#ifndef REPLICATION_PLUGIN_PARKED_H
#define REPLICATION_PLUGIN_PARKED_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "model/version.h"
#include "store/row_state.h"
#include "store/tombstone.h"

typedef struct ParkedRow
{
	Version		version;
	Sibling		row;			/* for row_decode() */
	Oid			index_id;		/* of the constraint */
	bytea	   *blocked_by;		/* key of a row in the way */
} ParkedRow;

/* The same with its key, as lists have it. */
typedef struct ParkedEntry
{
	bytea	   *key;
	int64		key_hash;
	bool		later;			/* coming back failed a moment ago */
	Version		version;
	ParkedRow	parked;			/* only if asked for */
} ParkedEntry;

/* Takes the lock of a table's parked rows until the end of the transaction. */
extern void parked_lock(Oid relid, bool exclusive);
extern void parked_unlock_shared(Oid relid);

/* True if a table has parked rows; if it has pins. */
extern bool parked_any(Oid relid);
extern bool pin_any(Oid relid);

/* True if no table has any; if there is one with that hash of its key. */
extern bool parked_none(void);
extern bool parked_has(Oid relid, int64 hash);

/* Finds the parked row of a key; in CurrentMemoryContext. */
extern bool parked_find(TombstoneKeys *keys, const Datum *key, ParkedRow *found);

/* Stores it in the place of the one that is there; removes it. Returns whether there was one. */
extern bool parked_store(TombstoneKeys *keys, const Datum *key, const ParkedRow *row);
extern bool parked_remove(TombstoneKeys *keys, const Datum *key);

/* Notes that coming back failed, for the next so many seconds. */
extern void parked_note_error(TombstoneKeys *keys, const Datum *key, const char *error, int seconds);

/*
 * All of a table that a snapshot shows, newest version first: a List of ParkedEntry *. rows: with
 * their rows.
 */
extern List *parked_list(Oid relid, Snapshot snapshot, bool rows);

/*
 * A pin of this version: the row has that of transaction writer, though it is a copy (rewrite.h).
 */
#define PIN_OF_WRITER	((Version) {0, INVALID_NODE_ID})

/*
 * The pinned version of the row of a key that transaction writer wrote; VERSION_SELF if that is the
 * running one's own.
 */
extern bool pin_find(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version *version);
extern void pin_store(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version version);

/* Adds a pin beside those that there are; the next command sees it. */
extern void pin_add(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version version);

/* Forgets all parked rows and pins of a table: it is not replicated any more. */
extern void parked_forget_all(Oid relid);

/*
 * Reads as a snapshot shows it from here on, until it is set to NULL: as now. For copies of what a
 * snapshot has.
 */
extern void parked_read_as_of(Snapshot snapshot);

/* Keys of all pins of a table, as stored: a List of bytea *; removes those of a key. */
extern List *pin_list(Oid relid);
extern void pin_remove(TombstoneKeys *keys, const Datum *key);

#endif							/* REPLICATION_PLUGIN_PARKED_H */
