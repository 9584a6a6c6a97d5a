/*
 * fetch.h
 *		Values that an update did not send and that are not here.
 */
#ifndef REPLICATION_PLUGIN_APPLY_FETCH_H
#define REPLICATION_PLUGIN_APPLY_FETCH_H

#include "apply/row.h"

/*
 * True if missing values may not be taken from the local row. seen: there is one, and the writer
 * had seen it.
 */
extern bool fetch_needed(ApplyRelation *ar, Missing missing, bool seen);

/*
 * Reads the columns of the row at hand that are not present from the provider, into ar->values: as
 * they were when the write at hand was the row's newest. Returns false if they, or the row, have
 * been written or deleted there since: then a newer state of the row is on its way, and this one is
 * passed over.
 */
extern bool fetch_missing(ApplyRelation *ar, const Datum *key);

/* Ends the connection to the provider: another one may come. */
extern void fetch_disconnect(ApplyContext *cx);

/* Notes, before commit, what the transaction has passed over. fetch_reset(): after an abort. */
extern void fetch_note_passed_over(ApplyContext *cx);
extern void fetch_reset(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_FETCH_H */
