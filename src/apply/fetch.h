/*
 * fetch.h
 *		Fetches values that an update did not send and that this node lacks.
 */
#ifndef REPLICATION_PLUGIN_APPLY_FETCH_H
#define REPLICATION_PLUGIN_APPLY_FETCH_H

#include "apply/row.h"

/*
 * Returns true if unsent TOAST values must come from the provider. seen: the local row exists and
 * is part of the writer's past.
 */
extern bool fetch_needed(ApplyRelation *ar, Missing missing, bool seen);

/*
 * Reads the missing columns of the current row from the provider into ar->values, as they were when
 * the current write was the newest of the row. Returns false if the provider has overwritten or
 * deleted the values or the row since. A newer state of the row will then arrive, and this write is
 * passed over.
 */
extern bool fetch_missing(ApplyRelation *ar, const Datum *key);

/* Closes the connection to the provider, because another provider may follow. */
extern void fetch_disconnect(ApplyContext *cx);

/*
 * fetch_note_passed_over() records, before commit, which tables the transaction has passed over
 * writes of. fetch_reset() forgets them after an abort.
 */
extern void fetch_note_passed_over(ApplyContext *cx);
extern void fetch_reset(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_FETCH_H */
