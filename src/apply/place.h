/*
 * place.h
 *		Decides which of several conflicting rows a table shows.
 *
 * Rule: from the newest version down, each row is shown that does not conflict with a row already
 * shown. A row is therefore parked if and only if a newer shown row is in its way. The result is a
 * pure function of the rows: all nodes that have the same rows show the same ones.
 */
#ifndef REPLICATION_PLUGIN_PLACE_H
#define REPLICATION_PLUGIN_PLACE_H

#include "apply/relation.h"
#include "store/parked.h"

/*
 * Prepares a table once per transaction, before its rows are read. If the table has contested keys,
 * acquires the lock of its parked rows, and determines whether rows have to be checked one by one
 * (ar->parking) and whether any have pins (ar->pinned).
 */
extern void place_open(ApplyRelation *ar, bool careful);

/*
 * Returns the version of a local row. own: the version of rows that the running transaction has
 * written.
 */
extern Version place_version(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, Version own);

/*
 * Raises an error, because deciding between a kept change and a local row or delete needs a version
 * that is gone.
 */
extern void place_refuse_unknown(ApplyRelation *ar);

/* Sets key to the key of a target's row, in key index order. */
extern void place_key(ApplyTarget *t, TupleTableSlot *row, Datum *key);

/* Returns a row of a target in the form in which it is parked. */
extern ParkedRow place_parked(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row,
							  Version version);

typedef enum PlaceResult
{
	PLACE_FREE,					/* the row can be written: older ones have made room */
	PLACE_TAKEN,				/* a newer row is in the way */
	PLACE_AGAIN,				/* a conflicting row has changed meanwhile */
	/* another transaction is writing a conflicting row (only without wait) */
	PLACE_BUSY
} PlaceResult;

/* The row for which a place is requested. */
typedef struct PlaceFor
{
	Version		version;
	Version		own;			/* of rows that the running transaction has written */
	/* the row is the last write of its transaction so far: rows of the same version make room */
	bool		arriving;
	bool		wait;			/* for transactions in progress */

	/* called with each row that is parked and the row in its way; NULL: not needed */
	void (*parked)(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, const ParkedRow *parked,
				   TupleTableSlot *winner, Version winner_version, const struct PlaceFor *who);
	/*
	 * in: the number of other conflicts of the row; out: plus the number of rows, by index, in its
	 * way. NULL: not counted
	 */
	int		   *clashes;
} PlaceFor;

/*
 * Makes room for a row, whose generated columns are set. If a newer row is in its way, pins the
 * conflicting rows and fills *parked instead. Rows that make room are parked under the origin of
 * repairs, so that this is sent to no other node.
 */
extern PlaceResult place_take(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row,
							  const PlaceFor *who, ParkedRow *parked);

/* Deletes a row on this node only. Returns false if the row has changed meanwhile. */
extern bool place_hide(ApplyRelation *ar, ApplyTarget *t, ItemPointer tid);

#endif							/* REPLICATION_PLUGIN_PLACE_H */
