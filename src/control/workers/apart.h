/*
 * apart.h
 *		Runs a statement in a transaction of its own, in a command worker.
 */
#ifndef REPLICATION_PLUGIN_APART_H
#define REPLICATION_PLUGIN_APART_H

#include "postgres.h"

/*
 * Runs a statement in this database, in another process, and waits for its end. Raises its error.
 */
extern void run_apart(const char *sql);

extern PGDLLEXPORT void replication_plugin_apart_main(Datum handle);

#endif							/* REPLICATION_PLUGIN_APART_H */
