/*
 * park.h
 *		Puts and deletes of a table whose rows stand in each other's way.
 */
#ifndef REPLICATION_PLUGIN_PARK_H
#define REPLICATION_PLUGIN_PARK_H

#include "apply/place.h"
#include "apply/row.h"
#include "log/conflict_log.h"
#include "store/parked.h"

/*
 * Puts the row in ar->values by its own key: into the table, if no newer row is in its way; else it
 * is parked, and sent on all the same. exists, absent: how to call a conflict with what is, or is
 * not, there.
 */
extern void park_put(ApplyRelation *ar, ConflictType exists, ConflictType absent, Missing missing);

/*
 * Deletes the parked row of a key, if there is one and the delete is newer. Returns whether there
 * was one.
 */
extern bool park_remove(ApplyRelation *ar, const Datum *key);

/* Notes that a row was parked, for the record of conflicts (PlaceFor.parked). */
extern void park_note(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, const ParkedRow *parked,
					  TupleTableSlot *winner, Version winner_version, const PlaceFor *who);

/*
 * Records, before commit, which rows the transaction has left parked. park_reset(): after an abort.
 */
extern void park_record(ApplyContext *cx);
extern void park_reset(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_PARK_H */
