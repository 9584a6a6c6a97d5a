/*
 * empty_tables.h
 *		Empties tables before they are copied anew, without running code of their owners.
 */
#ifndef REPLICATION_PLUGIN_EMPTY_TABLES_H
#define REPLICATION_PLUGIN_EMPTY_TABLES_H

#include "nodes/pg_list.h"

/* Empties tables and their partitions together, so foreign keys among them do not matter. */
extern void empty_tables(List *relids);

#endif							/* REPLICATION_PLUGIN_EMPTY_TABLES_H */
