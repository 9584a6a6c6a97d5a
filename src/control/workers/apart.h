/*
 * apart.h
 *		Statements of ours in transactions of their own, run by a worker that lives as long.
 */
#ifndef REPLICATION_PLUGIN_APART_H
#define REPLICATION_PLUGIN_APART_H

#include "postgres.h"

/*
 * Runs a statement in this database, in another process, and waits for its end. Its error is raised
 * here.
 */
extern void run_apart(const char *sql);

extern PGDLLEXPORT void replication_plugin_apart_main(Datum handle);

#endif							/* REPLICATION_PLUGIN_APART_H */
