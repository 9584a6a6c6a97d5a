/*
 * newest_delete.h
 *		The newest remembered delete (tombstone) of each table, by node.
 *
 * An arriving put whose writer had seen all deletes of the table that are remembered here need not
 * look for one of its key. Usually that is every put, however many tombstones, living or dead,
 * there are.
 */
#ifndef REPLICATION_PLUGIN_NEWEST_DELETE_H
#define REPLICATION_PLUGIN_NEWEST_DELETE_H

#include "base/shmem.h"
#include "model/frontier.h"

extern const ShmemArea newest_delete_area;
extern void newest_delete_install(void);

/* The running transaction is about to write tombstones of a table. */
extern void newest_delete_writing(Oid relid);

/*
 * True if no delete of the table by another node than the put's is remembered that is newer than
 * the put, or that its writer, who had seen everything through these timestamps, had not seen.
 * False: there may be one.
 */
extern bool newest_delete_all_seen(Oid relid, Version put, const Frontier *seen);

/*
 * What was written before the server was started, or prepared, is not known by itself: until all
 * tombstones have been looked at once, the answer above is no. The look: begin (false: all is
 * known), then make sure that no transaction of this database is prepared (else give up), take a
 * new snapshot, note each tombstone that it shows, end.
 */
extern bool newest_delete_look_begin(uint64 *look);
extern void newest_delete_look_note(Oid relid, Version version);
extern void newest_delete_look_end(uint64 look);

#endif							/* REPLICATION_PLUGIN_NEWEST_DELETE_H */
