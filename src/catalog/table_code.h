/*
 * table_code.h
 *		Whether writing rows of a table runs functions of users.
 */
#ifndef REPLICATION_PLUGIN_TABLE_CODE_H
#define REPLICATION_PLUGIN_TABLE_CODE_H

#include "utils/relcache.h"

/*
 * True if writing a row as replication does can run a function that is not built in: of a trigger
 * that fires for replicated rows, a constraint, a default, a generated column, an index, a
 * partition key, or of a column's type. Of a partitioned table: in its partitions as well. False
 * for our own tables.
 */
extern bool table_runs_code(Relation rel);

#endif							/* REPLICATION_PLUGIN_TABLE_CODE_H */
