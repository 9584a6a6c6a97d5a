/*
 * owner_path.h
 *		The search_path under which a role's functions run when rows of its tables are written.
 */
#ifndef REPLICATION_PLUGIN_OWNER_PATH_H
#define REPLICATION_PLUGIN_OWNER_PATH_H

/*
 * What a new session of the role in this database would have (ALTER ROLE ... IN DATABASE, ALTER
 * ROLE, ALTER DATABASE, ALTER ROLE ALL, the server's configuration), with pg_catalog first and
 * pg_temp last. The text is good until the next transaction.
 */
extern const char *owner_path(Oid role);

#endif							/* REPLICATION_PLUGIN_OWNER_PATH_H */
