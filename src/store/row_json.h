/*
 * row_json.h
 *		Converts a row, or its key, to jsonb for the record of conflicts.
 */
#ifndef REPLICATION_PLUGIN_ROW_JSON_H
#define REPLICATION_PLUGIN_ROW_JSON_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

/*
 * Returns a row as jsonb of bounded size. present: which columns are known; a column that is null
 * and not present is omitted. NULL: all columns are known.
 */
extern Datum row_json(TupleTableSlot *row, const bool *present);

/*
 * Sets *result to the key columns of a row of rel as jsonb, never cut. Returns false if the table
 * has no key.
 */
extern bool row_json_key(Relation rel, TupleTableSlot *row, Datum *result);

#endif							/* REPLICATION_PLUGIN_ROW_JSON_H */
