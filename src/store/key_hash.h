/*
 * key_hash.h
 *		Hashing values of key columns, such that what the type takes for equal hashes alike.
 */
#ifndef REPLICATION_PLUGIN_KEY_HASH_H
#define REPLICATION_PLUGIN_KEY_HASH_H

/* How values of one type are hashed. Opaque. */
typedef struct KeyHash KeyHash;

/* Made in CurrentMemoryContext. */
extern KeyHash *key_hash_make(Oid typid);

/* 0 for all values of a type of which nothing is known that equal ones have in common. */
extern uint64 key_hash(KeyHash *h, Oid collation, Datum value);

/* What version 1.0 stored, which had 0 for all types without a hash function. */
extern uint64 key_hash_before(KeyHash *h, Oid collation, Datum value);

/* True if that can be another hash. */
extern bool key_hash_differs(const KeyHash *h);

#endif							/* REPLICATION_PLUGIN_KEY_HASH_H */
