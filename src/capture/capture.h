/*
 * capture.h
 *		Triggers that record what the WAL alone does not keep: deleted keys.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_H
#define REPLICATION_PLUGIN_CAPTURE_H

#include "fmgr.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"

/*
 * Brings our internal triggers on a table (and its partitions) in line with
 * whether it is replicated and what key it has. A relation of another kind, or one
 * that is gone, is passed over. Needs a transaction; the change is part of it.
 */
extern void capture_install(Oid relid);

/* The same for every table of the database (creating or joining a group). */
extern void capture_install_all(void);

/*
 * The same for every table whose row in pg_class, or trigger, this transaction has changed. Others
 * are not opened: own_changes.h.
 */
extern void capture_install_changed(void);

/* Removes all of them (leaving a group). */
extern void capture_remove_all(void);

/* A row of a mergeable table goes, by TRUNCATE: as if it were deleted. t: of that table. */
struct MergeTable;
extern void capture_write_delete(struct MergeTable *t, Relation rel, TupleTableSlot *row);
extern void capture_write_delete_parked(struct MergeTable *t, Relation rel, const Datum *key);

/* True for a trigger function of ours: apply writes tombstones itself. */
extern bool capture_is_own_function(Oid funcoid);

/* The same for a trigger; true for the function of our event trigger. */
extern bool capture_is_own_trigger(Oid trigger);
extern bool capture_is_ddl_function(Oid funcoid);

extern PGDLLEXPORT Datum replication_plugin_capture_row(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_write(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_truncate(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_no_key(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum replication_plugin_capture_ddl(PG_FUNCTION_ARGS);

#endif							/* REPLICATION_PLUGIN_CAPTURE_H */
