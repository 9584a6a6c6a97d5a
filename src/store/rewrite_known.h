/*
 * rewrite_known.h
 *		Rows that ALTER TABLE has written anew: their transaction is not the one that they are of
 *		(rewrite.h).
 */
#ifndef REPLICATION_PLUGIN_REWRITE_KNOWN_H
#define REPLICATION_PLUGIN_REWRITE_KNOWN_H

#include "access/transam.h"
#include "postgres_ext.h"

/*
 * Returns true if a row of a table, written by that command of that transaction, is only a copy
 * that ALTER TABLE has made of it.
 */
extern bool rewrite_is_known(Oid relid, TransactionId xmin, CommandId cmin);

/* Notes it for all rows of a table that commands of the running transaction have written so far. */
extern void rewrite_make_known(Oid relid);

/* Notes it for all rows of a table that a transaction has written. */
extern void rewrite_make_writer_known(Oid relid, TransactionId writer);

#endif							/* REPLICATION_PLUGIN_REWRITE_KNOWN_H */
