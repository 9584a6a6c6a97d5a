/*
 * fetch.h
 *		Values that an update did not send and that are not here.
 */
#ifndef REPLICATION_PLUGIN_APPLY_FETCH_H
#define REPLICATION_PLUGIN_APPLY_FETCH_H

#include "apply/relation.h"

/*
 * Reads the columns of the row at hand that are not present from the provider's row
 * of the key, into ar->values. Returns false if the provider has no such row any
 * more: then a newer state of it is on its way, and this one need not be written.
 */
extern bool fetch_missing(ApplyRelation *ar, const Datum *key);

#endif							/* REPLICATION_PLUGIN_APPLY_FETCH_H */
