/*
 * argument.h
 *		Arguments of SQL functions that name an object.
 */
#ifndef REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H
#define REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/*
 * Opens a table that a caller has named by OID. Any number can be passed as a regclass, so this
 * raises an error if no such relation exists.
 */
extern Relation argument_table(Oid relid, LOCKMODE mode);

#endif							/* REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H */
