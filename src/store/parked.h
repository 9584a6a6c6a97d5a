/*
 * parked.h
 *		Stores parked rows, and pins: versions that stored rows do not show.
 *
 * A row is parked when a newer row has the same value of another unique key, or conflicts with it
 * by an exclusion constraint. Which of its rows a table shows is decided by version, from the
 * newest down. The result is a pure function of the rows, independent of the order of their
 * arrival. apply/place.c decides; this file stores the result.
 *
 * Locking: a process that parks rows of a table, lets them come back or pins them holds
 * parked_lock() exclusively. A process that only applies to a table with contested keys holds it in
 * share mode. Whatever is read here therefore stays true until commit.
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

/* A parked row with its key, as an element of a list. */
typedef struct ParkedEntry
{
	bytea	   *key;
	int64		key_hash;
	bool		later;			/* coming back failed recently */
	Version		version;
	ParkedRow	parked;			/* only if requested */
} ParkedEntry;

/*
 * parked_lock() takes the lock of a table's parked rows until the end of the transaction.
 * parked_unlock_shared() releases it, if it is held in share mode.
 */
extern void parked_lock(Oid relid, bool exclusive);
extern void parked_unlock_shared(Oid relid);

/* Return true if a table has parked rows, or pins. */
extern bool parked_any(Oid relid);
extern bool pin_any(Oid relid);

/*
 * parked_none() returns true if no table has parked rows. parked_has() returns true if a table has
 * one with this hash of its key.
 */
extern bool parked_none(void);
extern bool parked_has(Oid relid, int64 hash);

/*
 * Finds the parked row of a key. The result is allocated in CurrentMemoryContext. Returns false if
 * there is none.
 */
extern bool parked_find(TombstoneKeys *keys, const Datum *key, ParkedRow *found);

/*
 * Store a parked row in place of the present one, or remove it. Both return true if there was one.
 */
extern bool parked_store(TombstoneKeys *keys, const Datum *key, const ParkedRow *row);
extern bool parked_remove(TombstoneKeys *keys, const Datum *key);

/* Records that coming back failed, and delays the next attempt by this many seconds. */
extern void parked_note_error(TombstoneKeys *keys, const Datum *key, const char *error,
							  int seconds);

/*
 * Returns the parked rows of a table that a snapshot shows, newest version first, as a list of
 * ParkedEntry *. rows: include the rows themselves.
 */
extern List *parked_list(Oid relid, Snapshot snapshot, bool rows);

/*
 * A pin with this version gives the row the version of transaction writer, although the row is a
 * copy (rewrite.h).
 */
#define PIN_OF_WRITER	((Version) {0, INVALID_NODE_ID})

/*
 * pin_find() finds the pinned version of the row of a key that transaction writer wrote. The
 * version is VERSION_SELF if the pin is of the running transaction's own version. pin_store()
 * replaces all pins of the key.
 */
extern bool pin_find(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version *version);
extern void pin_store(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version version);

/* Adds a pin beside the existing ones; it is visible to the next command. */
extern void pin_add(TombstoneKeys *keys, const Datum *key, TransactionId writer, Version version);

/* Removes all parked rows and pins of a table that is no longer replicated. */
extern void parked_forget_all(Oid relid);

/*
 * Makes reads use this snapshot from here on; NULL: the newest one. This is for copies of a
 * snapshot's data.
 */
extern void parked_read_as_of(Snapshot snapshot);

/*
 * pin_list() returns the stored keys of all pins of a table, as a list of bytea *. pin_remove()
 * removes the pins of a key.
 */
extern List *pin_list(Oid relid);
extern void pin_remove(TombstoneKeys *keys, const Datum *key);

#endif							/* REPLICATION_PLUGIN_PARKED_H */
