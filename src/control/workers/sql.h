/*
 * sql.h
 *		Short SQL statements of the workers, each in a transaction of its own.
 */
#ifndef REPLICATION_PLUGIN_CONTROL_SQL_H
#define REPLICATION_PLUGIN_CONTROL_SQL_H

#include "access/xlogdefs.h"

#include "base/compat.h"
#include "base/own_transaction.h"

/*
 * Begins a transaction in which the extension's tables can be used: it has a snapshot, and holds
 * the lock of the extension. own_transaction_end() ends it.
 */
extern OwnTransaction sql_transaction_begin(void);

/*
 * Runs a statement with text parameters. Returns the first column of the first row as text, in the
 * caller's context, or NULL if there is none.
 */
extern char *sql_value(const char *sql, int nparams, const char *const *params);

/*
 * Like sql_value(), but marks the rows with an origin, while the transaction is a local one: so the
 * rows are not decoded, and other processes can use the origin at the same time.
 */
extern char *sql_repair(const char *sql, int nparams, const char *const *params,
						RepOriginId origin);

/*
 * The same for a statement that may roll back subtransactions. Processes that may run such
 * statements at the same time must use different origins.
 */
extern char *sql_repair_with_subtransactions(const char *sql, int nparams,
											 const char *const *params, RepOriginId origin);

/* Calls sql_value() with one integer parameter. */
extern char *sql_value_int(const char *sql, int param);

#endif							/* REPLICATION_PLUGIN_CONTROL_SQL_H */
