/*
 * argument.h
 *		Arguments of SQL functions that name something.
 */
#ifndef REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H
#define REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* Opens a table that a caller has named by its number; any number can be given as a regclass. */
extern Relation argument_table(Oid relid, LOCKMODE mode);

#endif							/* REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H */
