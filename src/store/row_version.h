/*
 * row_version.h
 *		Derives the version of a stored row from PostgreSQL's own commit data.
 */
#ifndef REPLICATION_PLUGIN_ROW_VERSION_H
#define REPLICATION_PLUGIN_ROW_VERSION_H

#include "executor/tuptable.h"

#include "model/version.h"

/*
 * Returns the version of the transaction that wrote a row: commit timestamp and node of its origin.
 * Returns VERSION_OLDEST if that is unknown (frozen long ago, copied in a join), and own for rows
 * that the running transaction itself wrote.
 */
extern Version row_version(TransactionId xmin, Version own);

/*
 * Does the same for a slot that contains a heap tuple. Returns VERSION_OLDEST for a copy that ALTER
 * TABLE has made (rewrite.h); such a row may have a pin.
 */
extern Version row_version_of_slot(TupleTableSlot *slot, Version own);

#endif							/* REPLICATION_PLUGIN_ROW_VERSION_H */
