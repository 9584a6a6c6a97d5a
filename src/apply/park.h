/*
 * park.h
 *		Applies puts and deletes of tables whose rows can conflict by contested keys.
 */
#ifndef REPLICATION_PLUGIN_PARK_H
#define REPLICATION_PLUGIN_PARK_H

#include "apply/place.h"
#include "apply/row.h"
#include "base/compat.h"
#include "log/conflict_log.h"
#include "store/parked.h"

/*
 * Puts the row in ar->values by its own key. The row is written to the table unless a newer row is
 * in its way; then it is parked, and forwarded nevertheless. exists, absent: the types of a
 * conflict with a present, or an absent, row.
 */
extern void park_put(ApplyRelation *ar, ConflictKind exists, ConflictKind absent, Missing missing);

/*
 * Deletes the parked row of a key, if the delete is newer. Returns true if there was a parked row.
 */
extern bool park_remove(ApplyRelation *ar, const Datum *key);

/* Notes that a row was parked, for the record of conflicts (PlaceFor.parked). */
extern void park_note(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row,
					  const ParkedRow *parked, TupleTableSlot *winner, Version winner_version,
					  const PlaceFor *who);

/*
 * park_record() records, before commit, which rows the transaction leaves parked. park_reset()
 * forgets them after an abort.
 */
extern void park_record(ApplyContext *cx);
extern void park_reset(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_PARK_H */
