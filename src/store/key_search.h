/*
 * key_search.h
 *		Finds a row of a local table by its key.
 *
 * This is the search of those who look for a row now and then: it opens the index and builds the
 * scan keys each time. Other searches differ for a reason. The applier keeps its scan from row to
 * row, and looks for uncommitted rows as well (apply/search.c); rows without a key are found by
 * their images (apply/search_image.c); a row's rivals for a unique value are all of interest, in
 * any index (apply/unique.c).
 */
#ifndef REPLICATION_PLUGIN_KEY_SEARCH_H
#define REPLICATION_PLUGIN_KEY_SEARCH_H

#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* Makes a scan key: column k (from 0) of an index is equal to a value. */
extern void key_search_column(ScanKey search, Relation index, int k, Datum value);

/*
 * Returns true if a row has the key that scan keys ask for. attnums: of the key's columns. This is
 * for rows that a lossy index returned (xs_recheck); the index of a key WITHOUT OVERLAPS may be one.
 */
extern bool key_search_matches(const ScanKeyData *search, const AttrNumber *attnums, int n,
							   TupleTableSlot *row);

/*
 * Finds the row with the key by a unique index. The key has the order of the index's columns.
 * Returns false if there is no such row. The slot holds a pin on the row's buffer.
 */
extern bool key_search_row(Relation rel, Oid indexoid, const Datum *key, Snapshot snapshot,
						   TupleTableSlot *slot);

#endif							/* REPLICATION_PLUGIN_KEY_SEARCH_H */
