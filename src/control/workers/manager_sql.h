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
 * Notes why nothing runs (NULL: no error).
 */
extern void sql_note_error(const char *message);

/* Clears the error that is shown if it is like a pattern of LIKE. */
extern void sql_clear_error(const char *pattern);

/* Shortens conflict_log. */
extern void sql_prune_conflicts(void);

#endif							/* REPLICATION_PLUGIN_MANAGER_SQL_H */
