/*
 * table_code.h
 *		Finds out whether writing rows of a table runs functions of users.
 */
#ifndef REPLICATION_PLUGIN_TABLE_CODE_H
#define REPLICATION_PLUGIN_TABLE_CODE_H

#include "utils/relcache.h"

/*
 * Returns true if writing a row as replication does can run a function that is not built in: that
 * of a trigger that fires for replicated rows, a constraint, a default, a generated column, an
 * index, a partition key, or a column's type. For a partitioned table, its partitions are examined
 * as well. Returns false for the extension's own tables.
 */
extern bool table_runs_code(Relation rel);

#endif							/* REPLICATION_PLUGIN_TABLE_CODE_H */
