/*
 * table_info.h
 *		Which tables are replicated, under which name, and by which key rows are found.
 *		Used by the output plugin (historic snapshot), apply, triggers and views alike.
 */
#ifndef REPLICATION_PLUGIN_TABLE_INFO_H
#define REPLICATION_PLUGIN_TABLE_INFO_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

#include "wire/wire.h"

/*
 * Topmost partition ancestor (the table itself if it is no partition): the
 * relation under whose name rows are sent.
 */
extern Oid	table_root(Oid relid);

/*
 * True for permanent ordinary and partitioned tables outside system schemas that
 * are not excluded, and for the extension's own replicated tables. A partition is
 * what its root is. Works under a historic snapshot.
 */
extern bool table_is_replicated(Relation rel);

/* The same of an unlogged table: what it will be when it is logged. */
extern bool table_is_replicated_if_logged(Relation rel);

/*
 * Name of a partition that is a foreign table, at any depth; NULL if there is none. Its rows are
 * elsewhere, and what is written to them is in no WAL: so a table that has one cannot be
 * replicated.
 */
extern char *table_foreign_partition(Oid relid);

/* True for the tables whose rows are settings of the whole group. */
extern bool table_is_own_replicated(Relation rel);

/* True for the table of frontier rows. */
extern bool table_is_frontier(Relation rel);

/*
 * True for the table of kept changes: what arrives of it is a change of another table, that a node
 * between had to keep (apply/keep.h).
 */
extern bool table_is_envelope(Relation rel);

/*
 * The key: the replica identity index, else the primary key (also under REPLICA
 * IDENTITY FULL and NOTHING). InvalidOid: none.
 */
extern Oid	table_key_index(Relation rel);

/* Key, full or none. */
extern WireIdentity table_identity(Relation rel);

/*
 * Key columns in index order: attribute numbers of rel, palloc'd; returns how many, 0 if the
 * table has no key.
 */
extern int	table_key_attributes(Relation rel, AttrNumber **attnums);

/* The same of a root, as attribute numbers of one of its partitions (or of itself). */
extern int	table_root_key_attributes(Relation rel, Relation root, AttrNumber **attnums);

/*
 * The columns of a table that are sent, as a set of attribute numbers: all that are not generated,
 * and those of the key. A generated key column is computed again where the row is written, but the
 * row has to be found first.
 */
extern Bitmapset *table_sent_columns(Relation root);

/*
 * True if the WAL of a table has these columns of each row that is deleted, and of one that is
 * updated if they change or are stored out of line.
 */
extern bool table_logs_columns(Relation rel, const AttrNumber *attnums, int n);

/*
 * True if rows can be in each other's way by more than the key: by another unique index, or an
 * exclusion constraint.
 */
extern bool table_is_contested(Relation rel);

#endif							/* REPLICATION_PLUGIN_TABLE_INFO_H */
