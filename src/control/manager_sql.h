/*
 * manager_sql.h
 *		What a manager reads and writes by SQL; each call is a transaction of its own.
 */
#ifndef REPLICATION_PLUGIN_MANAGER_SQL_H
#define REPLICATION_PLUGIN_MANAGER_SQL_H

#include "model/version.h"

extern bool sql_link_exists(NodeId provider);
extern bool sql_link_paused(NodeId provider);

/* Drops slots of removed members; returns true if a member lacks its slot, or its slot_made row. */
extern bool sql_tend_slots(void);

/* Notes why nothing runs (NULL: all is well). */
extern void sql_note_error(const char *message);
extern void sql_set_local_state(const char *state);
extern void sql_prune_conflicts(void);

#endif							/* REPLICATION_PLUGIN_MANAGER_SQL_H */
