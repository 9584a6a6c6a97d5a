/*
 * peer_rights.h
 *		The right of other nodes to read replicated tables: SELECT, and USAGE of their schemas,
 *		for
 *		role replication_plugin_peer.
 */
#ifndef REPLICATION_PLUGIN_PEER_RIGHTS_H
#define REPLICATION_PLUGIN_PEER_RIGHTS_H

#include "postgres.h"

/*
 * Gives the role the right to read a table if the table is replicated, and revokes it otherwise.
 * Needs a transaction, of which the change is part.
 */
extern void peer_rights_sync(Oid relid);

/* Does the same for all tables. */
extern void peer_rights_sync_all(void);

/*
 * Does the same for the tables that this transaction has changed, and for the tables of schemas
 * that it has changed. Other tables are not opened, because this transaction may hold locks for
 * which sessions wait that have opened them.
 */
extern void peer_rights_sync_changed(void);

/* Revokes all these rights, including those on schemas. */
extern void peer_rights_remove_all(void);

#endif							/* REPLICATION_PLUGIN_PEER_RIGHTS_H */
