/*
 * park_copy.h
 *		What a new member needs of a table with contested keys besides its rows.
 */
#ifndef REPLICATION_PLUGIN_PARK_COPY_H
#define REPLICATION_PLUGIN_PARK_COPY_H

#include "nodes/execnodes.h"
#include "utils/jsonb.h"

/*
 * Puts into a set, one jsonb each: parked rows; and versions, of pinned rows and of those that were
 * written by transaction since (full xid) or later. Of the others all members have told that they
 * have them: what may still come has seen them. Under the active snapshot. Nothing for a table
 * without such keys.
 */
extern void park_export(Relation rel, uint64 since, ReturnSetInfo *result);

/* Stores one of them here: the row, if it is not parked, has been copied. */
extern void park_import(Oid relid, Jsonb *entry);

#endif							/* REPLICATION_PLUGIN_PARK_COPY_H */
