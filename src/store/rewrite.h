/*
 * rewrite.h
 *		Preserves the versions of rows when ALTER TABLE rewrites a table.
 *
 * Such a command gives rows another xmin, from which their versions are derived. For each row that
 * not all members have yet, the version is therefore pinned (parked.h), and the table's new rows
 * are recorded as copies (rewrite_known.h). A copy without a pin is older than anything that can
 * arrive.
 *
 * The caller calls rewrite_prepare() before the command, under its lock; rewrite_collect() when the
 * new storage exists but nothing has been copied yet; and rewrite_note() after the command.
 * rewrite_prepare() saves the layout of the stored rows, because the catalogs no longer have it
 * when the versions are collected.
 */
#ifndef REPLICATION_PLUGIN_REWRITE_H
#define REPLICATION_PLUGIN_REWRITE_H

#include "utils/relcache.h"

typedef struct Rewriting Rewriting;

/*
 * Prepares for a table, in CurrentMemoryContext. Returns NULL if the versions of its rows are not
 * needed.
 */
extern Rewriting *rewrite_prepare(Relation rel);
extern Oid	rewrite_relid(const Rewriting *r);

/* Collects the versions of the stored rows. */
extern void rewrite_collect(Rewriting *r);

/* Records what was collected; does nothing if nothing was. */
extern void rewrite_note(Rewriting *r);

/*
 * Does the same if other transactions have made the copies, in a storage that has become the
 * table's by now (pg_repack). Returns false, without recording anything, if the table still has the
 * storage from which the versions were collected.
 */
extern bool rewrite_note_swapped(Rewriting *r);

#endif							/* REPLICATION_PLUGIN_REWRITE_H */
