/*
 * owner_path.h
 *		The search_path under which a role's functions run when rows of its tables are written.
 */
#ifndef REPLICATION_PLUGIN_OWNER_PATH_H
#define REPLICATION_PLUGIN_OWNER_PATH_H

/*
 * Returns the search_path that a new session of the role would have in this database (ALTER ROLE
 * ... IN DATABASE, ALTER ROLE, ALTER DATABASE, ALTER ROLE ALL, the server's configuration), with
 * pg_catalog first and pg_temp last. The text is valid until the next transaction.
 */
extern const char *owner_path(Oid role);

#endif							/* REPLICATION_PLUGIN_OWNER_PATH_H */
