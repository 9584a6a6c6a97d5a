/*
 * place.h
 *		Which of the rows that cannot stand beside one another the table shows.
 *
 * Rule: from the newest version down, each row that does not clash with one that is shown already.
 * So a row is parked if and only if a newer one that is shown is in its way. A pure function of the
 * rows: all nodes show the same ones once they have the same.
 */
#ifndef REPLICATION_PLUGIN_PLACE_H
#define REPLICATION_PLUGIN_PLACE_H

#include "apply/relation.h"
#include "store/parked.h"

/*
 * Once per transaction and table, before its rows are read: takes the lock of its parked rows if it
 * has contested keys, and finds out whether rows have to be looked at one by one (ar->parking), or
 * have pins (ar->pinned).
 */
extern void place_open(ApplyRelation *ar, bool careful);

/* The version of a local row; own: of what the running transaction has written. */
extern Version place_version(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, Version own);

/*
 * Refuses to decide between a kept change and a row or a delete here whose version is needed, and
 * gone.
 */
extern void place_refuse_unknown(ApplyRelation *ar);

/* Key of a row of a target, in key index order. */
extern void place_key(ApplyTarget *t, TupleTableSlot *row, Datum *key);

/* A row of a target as it is stored when it is parked. */
extern ParkedRow place_parked(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, Version version);

typedef enum PlaceResult
{
	PLACE_FREE,					/* the row can be written: older ones have made room */
	PLACE_TAKEN,				/* a newer row is in the way */
	PLACE_AGAIN,				/* a row in the way has changed meanwhile */
	PLACE_BUSY					/* somebody is writing there (only without wait) */
} PlaceResult;

/* Who asks for a place. */
typedef struct PlaceFor
{
	Version		version;
	Version		own;			/* of what the running transaction has written */
	/* it is the last write of its transaction so far: rows of the same version make room */
	bool		arriving;
	bool		wait;			/* for transactions in progress */

	/* told of each row that is parked, and of the one in its way; NULL: nobody wants to know */
	void		(*parked) (ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, const ParkedRow *parked,
						   TupleTableSlot *winner, Version winner_version, const struct PlaceFor *who);
	/*
	 * before: conflicts that the row has besides; then also the rows, by index, that are in its
	 * way. NULL: not counted
	 */
	int		   *clashes;
} PlaceFor;

/*
 * Makes room for a row (its generated columns are set), or, if there is none, pins what is in its
 * way and fills *parked. Keys of rows that had to go are parked under the origin of repairs: that
 * is sent to nobody.
 */
extern PlaceResult place_take(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, const PlaceFor *who, ParkedRow *parked);

/* Deletes a row here and nowhere else. */
extern bool place_hide(ApplyRelation *ar, ApplyTarget *t, ItemPointer tid);

#endif							/* REPLICATION_PLUGIN_PLACE_H */
