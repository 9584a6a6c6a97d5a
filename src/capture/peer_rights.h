/*
 * peer_rights.h
 *		The right of other nodes to read replicated tables: SELECT, and USAGE of their schemas, for
 *		role replication_plugin_peer.
 */
#ifndef REPLICATION_PLUGIN_PEER_RIGHTS_H
#define REPLICATION_PLUGIN_PEER_RIGHTS_H

#include "postgres.h"

/*
 * Gives the role the right to read a table that is replicated, and takes it back if the table is
 * not. Needs a transaction; the change is part of it.
 */
extern void peer_rights_sync(Oid relid);

/* The same for all tables. */
extern void peer_rights_sync_all(void);

/*
 * The same for the tables that this transaction has changed, and for those of schemas that it has
 * changed: others are not opened, as it may hold locks for which those who have opened them wait.
 */
extern void peer_rights_sync_changed(void);

/* Takes all of them back, also those of schemas. */
extern void peer_rights_remove_all(void);

#endif							/* REPLICATION_PLUGIN_PEER_RIGHTS_H */
