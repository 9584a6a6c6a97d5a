/*
 * own_changes.h
 *		Tables and schemas whose rows in the catalogs this transaction has written.
 */
#ifndef REPLICATION_PLUGIN_OWN_CHANGES_H
#define REPLICATION_PLUGIN_OWN_CHANGES_H

#include "nodes/pg_list.h"

/*
 * Oids of relations whose row in pg_class, or that of a trigger, this transaction has inserted,
 * changed or deleted. The relations may be gone.
 */
extern List *own_changed_relations(void);

/* Oids of schemas whose row in pg_namespace this transaction has inserted, changed or deleted. */
extern List *own_changed_schemas(void);

#endif							/* REPLICATION_PLUGIN_OWN_CHANGES_H */
