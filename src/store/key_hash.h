/*
 * key_hash.h
 *		Hashes values of key columns, so that values that the type considers equal hash alike.
 */
#ifndef REPLICATION_PLUGIN_KEY_HASH_H
#define REPLICATION_PLUGIN_KEY_HASH_H

/* How values of one type are hashed. Opaque. */
typedef struct KeyHash KeyHash;

/* Creates the hash of a type, in CurrentMemoryContext. */
extern KeyHash *key_hash_make(Oid typid);

/*
 * Returns the hash of a value; always 0 if it is not known what equal values of the type have in
 * common.
 */
extern uint64 key_hash(KeyHash *h, Oid collation, Datum value);

/* Returns the hash that version 1.0 stored: 0 for all types without a hash function. */
extern uint64 key_hash_before(KeyHash *h, Oid collation, Datum value);

/* Returns true if key_hash_before() can differ from key_hash(). */
extern bool key_hash_differs(const KeyHash *h);

#endif							/* REPLICATION_PLUGIN_KEY_HASH_H */
