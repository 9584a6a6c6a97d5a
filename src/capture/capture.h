/*
 * capture.h
 *		Triggers that record what the WAL alone does not contain: deleted keys.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_H
#define REPLICATION_PLUGIN_CAPTURE_H

#include "fmgr.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"

/*
 * Creates or drops the extension's internal triggers on a table (and its partitions), as required
 * by whether the table is replicated and by its key. Ignores relations of other kinds, and
 * relations that do not exist. Needs a transaction, of which the change is part.
 */
extern void capture_install(Oid relid);

/* Does the same for every table of the database, when a group is created or joined. */
extern void capture_install_all(void);

/*
 * Does the same for every table whose pg_class row, or trigger, this transaction has changed. Other
 * tables are not opened; see own_changes.h.
 */
extern void capture_install_changed(void);

/* Removes all triggers, when a group is left. */
extern void capture_remove_all(void);

/*
 * Capture the delete of a row of a mergeable table, shown or parked, by TRUNCATE. t: of that table.
 */
struct MergeTable;
extern void capture_write_delete(struct MergeTable *t, Relation rel, TupleTableSlot *row);
extern void capture_write_delete_parked(struct MergeTable *t, Relation rel, const Datum *key);

/*
 * Returns true for a trigger function of the extension, which applying does not run because it
 * writes tombstones itself.
 */
extern bool capture_is_own_function(Oid funcoid);

/*
 * capture_is_own_trigger() does the same for a trigger. capture_is_ddl_function() returns true for
 * the function of the extension's event trigger.
 */
extern bool capture_is_own_trigger(Oid trigger);
extern bool capture_is_ddl_function(Oid funcoid);

extern PGDLLEXPORT Datum replication_plugin_capture_row(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_write(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_truncate(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_no_key(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_ddl(PG_FUNCTION_ARGS);

#endif							/* REPLICATION_PLUGIN_CAPTURE_H */
