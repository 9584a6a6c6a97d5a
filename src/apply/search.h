/*
 * search.h
 *		Finds the local row to which a change applies, by key.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SEARCH_H
#define REPLICATION_PLUGIN_APPLY_SEARCH_H

#include "apply/relation.h"

/* Finds the current row of a key, and stores it in t->found. Returns false if there is none. */
extern bool search_key(ApplyTarget *t, const Datum *key);

/*
 * Does the same, but a negative result is certain: waits for transactions in progress that may have
 * the row.
 */
extern bool search_key_surely(ApplyTarget *t, const Datum *key);

/* Returns true if the key has a row, or a transaction in progress may have one. Does not wait. */
extern bool search_key_or_coming(ApplyTarget *t, const Datum *key);

#endif							/* REPLICATION_PLUGIN_APPLY_SEARCH_H */
