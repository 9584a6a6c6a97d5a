/*
 * unseen_table.h
 *		Tables of a member that are there already, and that nobody sees yet.
 */
#ifndef REPLICATION_PLUGIN_UNSEEN_TABLE_H
#define REPLICATION_PLUGIN_UNSEEN_TABLE_H

#include "libpq-fe.h"

/* What is locked on a member, as an array of numbers, palloc'd. To be asked before whether it has a table. */
extern char *unseen_table_locked(PGconn *conn);

/* Returns true if one of these cannot be seen there: then nobody can say that the member does not have a table. */
extern bool unseen_table_is_there(PGconn *conn, const char *locked);

#endif							/* REPLICATION_PLUGIN_UNSEEN_TABLE_H */
