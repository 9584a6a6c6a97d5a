/*
 * newest_delete.h
 *		The newest remembered delete (tombstone) of each table, by node.
 *
 * An arriving put need not search for a tombstone of its key if its writer had seen all deletes of
 * the table that are remembered here. Usually that holds for every put, however many tombstones,
 * live or dead, there are.
 */
#ifndef REPLICATION_PLUGIN_NEWEST_DELETE_H
#define REPLICATION_PLUGIN_NEWEST_DELETE_H

#include "base/shmem.h"
#include "model/frontier.h"

extern const ShmemArea newest_delete_area;
extern void newest_delete_install(void);

/* Announces that the running transaction is about to write tombstones of a table. */
extern void newest_delete_writing(Oid relid);

/*
 * Returns true if every remembered delete of the table by a node other than the put's is older than
 * the put, and within seen, the timestamps up to which its writer had seen the nodes' writes.
 * Returns false if there may be a delete for which this does not hold.
 */
extern bool newest_delete_all_seen(Oid relid, Version put, const Frontier *seen);

/*
 * Tombstones that were written before the server was started, or by a prepared transaction, are
 * unknown here, and newest_delete_all_seen() returns false until all of them have been read once.
 * The reading process calls newest_delete_look_begin(), which returns false if nothing is unknown;
 * makes sure that no transaction of this database is prepared, or else gives up; takes a new
 * snapshot; calls newest_delete_look_note() for each tombstone that it shows; and calls
 * newest_delete_look_end().
 */
extern bool newest_delete_look_begin(uint64 *look);
extern void newest_delete_look_note(Oid relid, Version version);
extern void newest_delete_look_end(uint64 look);

#endif							/* REPLICATION_PLUGIN_NEWEST_DELETE_H */
