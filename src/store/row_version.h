/*
 * row_version.h
 *		The version of a stored row, from PostgreSQL's own commit data.
 */
#ifndef REPLICATION_PLUGIN_ROW_VERSION_H
#define REPLICATION_PLUGIN_ROW_VERSION_H

#include "executor/tuptable.h"

#include "model/version.h"

/*
 * Version of the transaction that wrote a row: its origin's commit timestamp and
 * node. VERSION_OLDEST where that is unknown (frozen long ago, copied in a join).
 * own is returned for rows that the running transaction wrote itself.
 */
extern Version row_version(TransactionId xmin, Version own);

/*
 * The same for a row in a slot that holds a heap tuple. Of a copy that ALTER TABLE has made
 * (rewrite.h), VERSION_OLDEST: the row may have a pin.
 */
extern Version row_version_of_slot(TupleTableSlot *slot, Version own);

#endif							/* REPLICATION_PLUGIN_ROW_VERSION_H */
