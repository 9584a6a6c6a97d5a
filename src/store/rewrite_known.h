/*
 * rewrite_known.h
 *		Records rows that ALTER TABLE has rewritten: their xmin does not give their version
 *		(rewrite.h).
 */
#ifndef REPLICATION_PLUGIN_REWRITE_KNOWN_H
#define REPLICATION_PLUGIN_REWRITE_KNOWN_H

#include "access/transam.h"
#include "postgres_ext.h"

/*
 * Returns true if a row of a table, written by that command of that transaction, is only a copy
 * that ALTER TABLE has made.
 */
extern bool rewrite_is_known(Oid relid, TransactionId xmin, CommandId cmin);

/* Records all rows of a table that the running transaction has written so far as copies. */
extern void rewrite_make_known(Oid relid);

/* Records all rows of a table that a transaction has written as copies. */
extern void rewrite_make_writer_known(Oid relid, TransactionId writer);

/* Hook function for changes of tables (replication_plugin.c). */
extern void rewrite_known_table_changed(Oid relid);

#endif							/* REPLICATION_PLUGIN_REWRITE_KNOWN_H */
