/*
 * sql.h
 *		Short SQL statements of our workers, each in a transaction of its own.
 */
#ifndef REPLICATION_PLUGIN_CONTROL_SQL_H
#define REPLICATION_PLUGIN_CONTROL_SQL_H

#include "access/xlogdefs.h"

/*
 * Runs a statement with text parameters. Returns the first column of the first row as text, in the
 * caller's context; NULL if none.
 */
extern char *sql_value(const char *sql, int nparams, const char *const *params);

/*
 * The same, and its rows are marked with an origin, while its transaction is a local one: so nobody
 * decodes them, and others may use the origin.
 */
extern char *sql_repair(const char *sql, int nparams, const char *const *params, RepOriginId origin);

/* sql_value() with one integer parameter. */
extern char *sql_value_int(const char *sql, int param);

#endif							/* REPLICATION_PLUGIN_CONTROL_SQL_H */
