/*
 * search.h
 *		Finding the local row that a change is about.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SEARCH_H
#define REPLICATION_PLUGIN_APPLY_SEARCH_H

#include "apply/relation.h"

/* Finds the row of a key, as it is now, into t->found. */
extern bool search_key(ApplyTarget *t, const Datum *key);

/*
 * The same, but "no" is certain: transactions in progress that may have the row are
 * waited for.
 */
extern bool search_key_surely(ApplyTarget *t, const Datum *key);

/*
 * True if there is a row of the key, or a transaction in progress may have one; nobody is waited
 * for.
 */
extern bool search_key_or_coming(ApplyTarget *t, const Datum *key);

#endif							/* REPLICATION_PLUGIN_APPLY_SEARCH_H */
