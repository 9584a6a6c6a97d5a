/*
 * state_copy.h
 *		Copies what a new member needs of a mergeable table besides its rows.
 */
#ifndef REPLICATION_PLUGIN_STATE_COPY_H
#define REPLICATION_PLUGIN_STATE_COPY_H

#include "nodes/execnodes.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/*
 * Puts one jsonb into a set for each row that has a stored state, or that was written by
 * transaction since (a full xid) or later: writes that are concurrent with the latter may still
 * arrive, so their versions are needed. Reads with the active snapshot.
 */
extern void state_export(Relation rel, uint64 since, ReturnSetInfo *result);

/* Stores the state of one row on this node. */
extern void state_import(Relation rel, Jsonb *state);

#endif							/* REPLICATION_PLUGIN_STATE_COPY_H */
