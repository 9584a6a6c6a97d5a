/*
 * row_json.h
 *		A row, or its key, as jsonb for the record of conflicts.
 */
#ifndef REPLICATION_PLUGIN_ROW_JSON_H
#define REPLICATION_PLUGIN_ROW_JSON_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

/*
 * A row as jsonb of bounded size. present: which columns are known; one that is null and not
 * present is left out. NULL: all are.
 */
extern Datum row_json(TupleTableSlot *row, const bool *present);

/* The key columns of a row of rel as jsonb, never cut; returns false if the table has no key. */
extern bool row_json_key(Relation rel, TupleTableSlot *row, Datum *result);

#endif							/* REPLICATION_PLUGIN_ROW_JSON_H */
