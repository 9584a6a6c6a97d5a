/*
 * rewrite.h
 *		ALTER TABLE that writes all rows anew: their versions survive.
 *
 * Such a command gives rows another xmin, which is where their versions come from. So for each row
 * that not all members have yet the version is pinned (parked.h), and the table's new rows are
 * noted as copies (rewrite_known.h): without a pin they are older than anything that can arrive.
 *
 * The caller prepares before the command, under its lock; has rows collected when the new storage
 * exists and nothing is copied yet; and has all that noted after the command. Prepared is the
 * layout of the rows as they are stored, which the catalogs do not tell any more when they are
 * collected.
 */
#ifndef REPLICATION_PLUGIN_REWRITE_H
#define REPLICATION_PLUGIN_REWRITE_H

#include "utils/relcache.h"

typedef struct Rewriting Rewriting;

/*
 * Prepares for a table, in CurrentMemoryContext; NULL if its rows have no versions that anybody
 * needs.
 */
extern Rewriting *rewrite_prepare(Relation rel);
extern Oid	rewrite_relid(const Rewriting *r);

/* Collects the versions of the rows that are stored. */
extern void rewrite_collect(Rewriting *r);

/* Notes what was collected; nothing if nothing was. */
extern void rewrite_note(Rewriting *r);

/*
 * The same where other transactions have made the copies, in a storage that is the table's by now:
 * pg_repack. Returns false, noting nothing, if the table still has the storage from which was
 * collected.
 */
extern bool rewrite_note_swapped(Rewriting *r);

#endif							/* REPLICATION_PLUGIN_REWRITE_H */
