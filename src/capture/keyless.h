/*
 * keyless.h
 *		Tables that log whole rows, so that their UPDATE and DELETE can be replicated.
 */
#ifndef REPLICATION_PLUGIN_KEYLESS_H
#define REPLICATION_PLUGIN_KEYLESS_H

#include "utils/relcache.h"

/*
 * Sets REPLICA IDENTITY FULL for a table that has just been created or changed, if it is required.
 * It is required for a new table without a key if the group setting keyless_tables says so, for a
 * partition of a table that has no key and REPLICA IDENTITY FULL, and for a table whose key can be
 * missing in the WAL of an update. Takes the same lock as ALTER TABLE. Needs a transaction, of
 * which the change is part.
 */
extern void keyless_log_whole_rows(Oid relid, bool created);

#endif							/* REPLICATION_PLUGIN_KEYLESS_H */
