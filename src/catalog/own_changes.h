/*
 * own_changes.h
 *		Finds the tables and schemas whose catalog rows the current transaction has written.
 */
#ifndef REPLICATION_PLUGIN_OWN_CHANGES_H
#define REPLICATION_PLUGIN_OWN_CHANGES_H

#include "nodes/pg_list.h"

/*
 * Returns the OIDs of the relations whose row in pg_class, or whose trigger's row, this transaction
 * has inserted, changed or deleted. The relations may no longer exist.
 */
extern List *own_changed_relations(void);

/*
 * Returns the OIDs of the schemas whose row in pg_namespace this transaction has inserted, changed
 * or deleted.
 */
extern List *own_changed_schemas(void);

#endif							/* REPLICATION_PLUGIN_OWN_CHANGES_H */
