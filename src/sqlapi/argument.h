/*
 * argument.h
 *		Arguments of SQL functions: named objects and timeouts.
 */
#ifndef REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H
#define REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H

#include "datatype/timestamp.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "base/moment.h"

/*
 * Opens a table that a caller has named by OID. Any number can be passed as a regclass, so this
 * raises an error if no such relation exists.
 */
extern Relation argument_table(Oid relid, LOCKMODE mode);

/*
 * Returns the moment that is a timeout from now; now if the timeout is negative. Raises an error if
 * the timeout leads out of the range of timestamps.
 */
extern Moment argument_deadline(Interval *timeout);

#endif							/* REPLICATION_PLUGIN_SQLAPI_ARGUMENT_H */
