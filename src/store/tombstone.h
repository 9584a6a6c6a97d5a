/*
 * tombstone.h
 *		Stores tombstones, the records of deletes. A write that is older than the delete of its
 *		key
 *		must not recreate the row, in whatever order the two arrive.
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
 * Builds it for a table with a key, in CurrentMemoryContext. root: the relation under whose name
 * and key the table is replicated.
 */
extern TombstoneKeys *tombstone_keys(Relation root);
extern int	tombstone_nkeys(const TombstoneKeys *k);

/*
 * Returns true if a column of the key has a type that is not built in. Hashing, comparing and
 * reading such a key requires a row session (base/session.h).
 */
extern bool tombstone_users_types(const TombstoneKeys *k);
extern Oid	tombstone_relid(const TombstoneKeys *k);

/*
 * Operations on the stored form of a key: its hash (equal keys hash alike), its bytes (appended to
 * buf, with a varlena header), a scan key for the hash, and a comparison.
 */
extern int64 tombstone_key_hash(TombstoneKeys *k, const Datum *key);
extern bytea *tombstone_key_bytes(TombstoneKeys *k, const Datum *key, StringInfo buf);
extern void	  tombstone_key_search(TombstoneKeys *k, const Datum *key, ScanKey search,
								   AttrNumber attnum);
extern bool tombstone_key_matches(TombstoneKeys *k, bytea *stored, const Datum *key);

/*
 * Reads the values of a stored key. Returns false if the key had other columns, or types of another
 * length, when it was stored.
 */
extern bool tombstone_key_values(TombstoneKeys *k, bytea *stored, Datum *key);

/*
 * Remembers the delete of a key (values in key index order) by the running transaction. send: the
 * tombstone is decoded and sent as the delete; false if the delete of the row itself is sent, so
 * that decoding can ignore the tombstone.
 */
extern void tombstone_write(TombstoneKeys *k, const Datum *key, bool send);

/*
 * Finds the newest tombstone of a key that is committed or belongs to the running transaction,
 * whose version is own. Waits for transactions that are writing one. Returns false if there is
 * none.
 */
extern bool tombstone_find(TombstoneKeys *k, const Datum *key, Version own, Version *newest);

/*
 * Does the same for the tombstones that a snapshot shows, without waiting. A writer that has not
 * ended has VERSION_SELF.
 */
extern bool tombstone_visible(TombstoneKeys *k, const Datum *key, Snapshot snapshot,
							  Version *newest);

/* Removes all tombstones of a table that is no longer replicated. */
extern void tombstone_forget_all(Oid relid);

/*
 * Deletes the tombstones in the blocks from "from" up to, but excluding, "to" that transactions
 * before "before" wrote, except those that keep() says are still needed (by table and hash of the
 * key). keep may be NULL; arg is passed to it.
 */
extern void tombstone_collect(BlockNumber from, BlockNumber to, TransactionId before,
							  bool (*keep)(Oid relid, int64 hash, const void *arg),
							  const void *arg);

/*
 * Reports all tombstones to shared/newest_delete.h, which needs those from before the server was
 * started.
 */
extern void tombstone_look(void);

/*
 * Between begin and end the table stays open and writes are gathered. tombstone_end_transaction(),
 * tombstone_find() and tombstone_flush() write them. Without begin, every call opens and closes the
 * table.
 */
extern void tombstone_begin_transaction(void);
extern void tombstone_end_transaction(void);

/*
 * Writes the gathered tombstones. This is needed before a row is put: a transaction is forwarded in
 * the order of the WAL, and a delete must not move past a later put of its key.
 */
extern void tombstone_flush(void);

/* Forgets what an aborted transaction left in memory. */
extern void tombstone_abort_transaction(void);

#endif							/* REPLICATION_PLUGIN_TOMBSTONE_H */
