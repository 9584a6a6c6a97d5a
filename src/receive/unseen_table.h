/*
 * unseen_table.h
 *		Tables of a member that are there already, and that nobody sees yet.
 */
#ifndef REPLICATION_PLUGIN_UNSEEN_TABLE_H
#define REPLICATION_PLUGIN_UNSEEN_TABLE_H

#include "libpq-fe.h"

/*
 * Returns true if a member has such tables: then nobody can say that a table that is looked for
 * after this is not there. Raises errors of the session.
 */
extern bool unseen_tables(PGconn *conn);

#endif							/* REPLICATION_PLUGIN_UNSEEN_TABLE_H */
