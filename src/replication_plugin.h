/*
 * replication_plugin.h
 *		Entry points that PostgreSQL itself calls by name.
 */
#ifndef REPLICATION_PLUGIN_H
#define REPLICATION_PLUGIN_H

extern PGDLLEXPORT void _PG_init(void);

#endif							/* REPLICATION_PLUGIN_H */
