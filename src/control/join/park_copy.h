/*
 * park_copy.h
 *		Copies what a new member needs of a table with contested keys besides its rows.
 */
#ifndef REPLICATION_PLUGIN_PARK_COPY_H
#define REPLICATION_PLUGIN_PARK_COPY_H

#include "nodes/execnodes.h"
#include "utils/jsonb.h"

/*
 * Puts entries into a set, one jsonb each: parked rows, and versions of rows that are pinned or
 * were written by transaction since (a full xid) or later. All members have reported that they have
 * the other rows, so changes that can still arrive have seen those. Reads with the active snapshot.
 * A table without contested keys has no entries.
 */
extern void park_export(Relation rel, uint64 since, ReturnSetInfo *result);

/* Stores one entry on this node. If it is not a parked row, its row has been copied already. */
extern void park_import(Oid relid, Jsonb *entry);

#endif							/* REPLICATION_PLUGIN_PARK_COPY_H */
