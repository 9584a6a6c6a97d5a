/*
 * manager_sql.h
 *		What a manager reads and writes by SQL; each call is a transaction of its own.
 */
#ifndef REPLICATION_PLUGIN_MANAGER_SQL_H
#define REPLICATION_PLUGIN_MANAGER_SQL_H

#include "model/version.h"

extern bool sql_link_exists(NodeId provider);
extern bool sql_link_paused(NodeId provider);

/* Notes why nothing runs (NULL: all is well). */
extern void sql_note_error(const char *message);
extern void sql_prune_conflicts(void);

#endif							/* REPLICATION_PLUGIN_MANAGER_SQL_H */
