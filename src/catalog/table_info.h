/*
 * table_info.h
 *		Which tables are replicated, under which name, and by which key their rows are found. Used
 *		by the output plugin (under a historic snapshot), apply, triggers and views.
 */
#ifndef REPLICATION_PLUGIN_TABLE_INFO_H
#define REPLICATION_PLUGIN_TABLE_INFO_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

#include "wire/wire.h"

/*
 * Returns the topmost ancestor of a partition, under whose name its rows are sent; the table itself
 * if it is no partition.
 */
extern Oid	table_root(Oid relid);

/*
 * Returns true for permanent ordinary and partitioned tables outside of system schemas that are not
 * excluded, and for the extension's own replicated tables. For a partition, returns the answer for
 * its root. Works under a historic snapshot.
 */
extern bool table_is_replicated(Relation rel);

/* Returns the same as if the table were logged, for an unlogged one. */
extern bool table_is_replicated_if_logged(Relation rel);

/*
 * Returns the name of a partition, at any depth, that is a foreign table; NULL if there is none.
 * The rows of such a partition are elsewhere, and writes to them are in no local WAL. So a table
 * that has one cannot be replicated.
 */
extern char *table_foreign_partition(Oid relid);

/* Returns true for the extension's own tables whose rows are replicated. */
extern bool table_is_own_replicated(Relation rel);

/* Returns true for the table of frontier rows. */
extern bool table_is_frontier(Relation rel);

/*
 * Returns true for the table of kept changes. Its arriving rows are envelopes: changes of other
 * tables that a node in between has kept (apply/keep.h).
 */
extern bool table_is_envelope(Relation rel);

/*
 * Returns the index of the key: the replica identity index, else the primary key (also under
 * REPLICA IDENTITY FULL and NOTHING); InvalidOid if there is none.
 */
extern Oid	table_key_index(Relation rel);

/* Returns how rows are found: by key, by all columns, or not at all. */
extern WireIdentity table_identity(Relation rel);

/*
 * Returns the number of key columns; 0 if the table has no key. *attnums receives their attribute
 * numbers in rel, in index order, palloc'd.
 */
extern int	table_key_attributes(Relation rel, AttrNumber **attnums);

/* The same for the key of a root, as attribute numbers of one of its partitions (or of itself). */
extern int	table_root_key_attributes(Relation rel, Relation root, AttrNumber **attnums);

/*
 * Returns the columns of a table that are sent, as a set of attribute numbers: all that are not
 * generated, and those of the key. A generated key column is computed again where the row is
 * written, but the row has to be found first.
 */
extern Bitmapset *table_sent_columns(Relation root);

/*
 * Returns true if the WAL of a table has these columns of each deleted row, and of each updated row
 * in which they change or are stored out of line.
 */
extern bool table_logs_columns(Relation rel, const AttrNumber *attnums, int n);

/*
 * Returns true if the table has contested keys: another unique index than that of the key, or an
 * exclusion constraint.
 */
extern bool table_is_contested(Relation rel);

#endif							/* REPLICATION_PLUGIN_TABLE_INFO_H */
