/*
 * keyless.h
 *		Tables that log whole rows, so that their UPDATE and DELETE can be replicated.
 */
#ifndef REPLICATION_PLUGIN_KEYLESS_H
#define REPLICATION_PLUGIN_KEYLESS_H

#include "utils/relcache.h"

/*
 * Gives a table that has just been created or changed REPLICA IDENTITY FULL where it has no key and
 * should have that: a new table, if the group's setting keyless_tables says so, and a partition of
 * a table that has it; and where its key can be missing in the WAL of an update. Takes the lock
 * that ALTER TABLE takes. Needs a transaction; the change is part of it.
 */
extern void keyless_log_whole_rows(Oid relid, bool created);

#endif							/* REPLICATION_PLUGIN_KEYLESS_H */
