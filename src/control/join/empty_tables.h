/*
 * empty_tables.h
 *		Empties tables before they are copied anew, without running code of their owners.
 */
#ifndef REPLICATION_PLUGIN_EMPTY_TABLES_H
#define REPLICATION_PLUGIN_EMPTY_TABLES_H

#include "nodes/pg_list.h"

/*
 * Empties tables, with their partitions, all at once: foreign keys among them are in nobody's way.
 */
extern void empty_tables(List *relids);

#endif							/* REPLICATION_PLUGIN_EMPTY_TABLES_H */
