/*
 * unseen_table.h
 *		Finds tables of a member that exist already but are not visible yet.
 */
#ifndef REPLICATION_PLUGIN_UNSEEN_TABLE_H
#define REPLICATION_PLUGIN_UNSEEN_TABLE_H

#include "libpq-fe.h"

/*
 * Returns true if a member has such tables. It then cannot be said that a table that is looked for
 * after this does not exist there. Raises errors of the session.
 */
extern bool unseen_tables(PGconn *conn);

#endif							/* REPLICATION_PLUGIN_UNSEEN_TABLE_H */
