/*
 * tombstone.h
 *		Deletes that are remembered: a write that is older than the delete of its
 *		key must not raise the row again, in whatever order the two arrive.
 */
#ifndef REPLICATION_PLUGIN_TOMBSTONE_H
#define REPLICATION_PLUGIN_TOMBSTONE_H

#include "access/skey.h"
#include "lib/stringinfo.h"
#include "storage/block.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "model/version.h"

/* How keys of one table are written, hashed and compared. Opaque. */
typedef struct TombstoneKeys TombstoneKeys;

/*
 * Builds it for a table with a key, in CurrentMemoryContext. root: the relation
 * under whose name and key the table is replicated.
 */
extern TombstoneKeys *tombstone_keys(Relation root);
extern int	tombstone_nkeys(const TombstoneKeys *k);

/*
 * True if a column of the key has a type that is not built in: hashing, comparing and reading it
 * belongs into a row session (base/session.h).
 */
extern bool tombstone_users_types(const TombstoneKeys *k);
extern Oid	tombstone_relid(const TombstoneKeys *k);

/*
 * A key in its stored form: hash (equal keys hash alike), bytes (appended to buf, with a varlena
 * header), scan key by the hash, comparison.
 */
extern int64 tombstone_key_hash(TombstoneKeys *k, const Datum *key);
extern bytea *tombstone_key_bytes(TombstoneKeys *k, const Datum *key, StringInfo buf);
extern void tombstone_key_search(TombstoneKeys *k, const Datum *key, ScanKey search, AttrNumber attnum);
extern bool tombstone_key_matches(TombstoneKeys *k, bytea *stored, const Datum *key);

/*
 * Takes a stored key apart; false if the key had other columns, or types of another length, then.
 */
extern bool tombstone_key_values(TombstoneKeys *k, bytea *stored, Datum *key);

/*
 * Remembers the delete of a key (values in key index order) by the running transaction.
 * send: the tombstone is decoded and sent as the delete; false where the delete of the
 * row itself is, so that decoding need not look at the tombstone.
 */
extern void tombstone_write(TombstoneKeys *k, const Datum *key, bool send);

/*
 * Finds the newest tombstone of a key that is committed, or of the running
 * transaction, which has version own; waits for transactions that are writing one.
 * Returns false if there is none.
 */
extern bool tombstone_find(TombstoneKeys *k, const Datum *key, Version own, Version *newest);

/*
 * The same, as a snapshot shows it, without waiting: a writer that has not ended has VERSION_SELF.
 */
extern bool tombstone_visible(TombstoneKeys *k, const Datum *key, Snapshot snapshot, Version *newest);

/* Forgets all tombstones of a table: it is not replicated any more. */
extern void tombstone_forget_all(Oid relid);

/*
 * Deletes the tombstones in these blocks (to: the first one behind) that transactions before this
 * one wrote, but for those of which keep() says that somebody still looks for them (by table and
 * hash of the key). keep may be NULL. arg is given to it.
 */
extern void tombstone_collect(BlockNumber from, BlockNumber to, TransactionId before,
							  bool (*keep) (Oid relid, int64 hash, const void *arg), const void *arg);

/*
 * Notes all tombstones in shared/newest_delete.h: its look at what was there before the server was
 * started.
 */
extern void tombstone_look(void);

/*
 * Between begin and end the table is kept open and writes are gathered; end (or
 * tombstone_find, or tombstone_flush) writes them. Without it every call opens and closes.
 */
extern void tombstone_begin_transaction(void);
extern void tombstone_end_transaction(void);

/*
 * Writes what is gathered. Before a row is put: the order in the WAL is the order in which
 * a transaction is forwarded, and a delete must not overtake a later put of its key.
 */
extern void tombstone_flush(void);

/* Forgets what an aborted transaction left in memory. */
extern void tombstone_abort_transaction(void);

#endif							/* REPLICATION_PLUGIN_TOMBSTONE_H */
