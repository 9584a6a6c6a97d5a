/*
 * manager_sql.h
 *		SQL statements of the manager. Each call is a transaction of its own.
 */
#ifndef REPLICATION_PLUGIN_MANAGER_SQL_H
#define REPLICATION_PLUGIN_MANAGER_SQL_H

#include "model/version.h"

extern bool sql_link_exists(NodeId provider);
extern bool sql_link_paused(NodeId provider);

/*
 * sql_note_error() notes why nothing runs (NULL: no error). sql_prune_conflicts() shortens
 * conflict_log.
 */
extern void sql_note_error(const char *message);
extern void sql_prune_conflicts(void);

#endif							/* REPLICATION_PLUGIN_MANAGER_SQL_H */
