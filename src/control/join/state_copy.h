/*
 * state_copy.h
 *		What a new member needs of a mergeable table besides its rows.
 */
#ifndef REPLICATION_PLUGIN_STATE_COPY_H
#define REPLICATION_PLUGIN_STATE_COPY_H

#include "nodes/execnodes.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/*
 * Puts one jsonb per row into a set: those with a state of their own, and those that were written
 * by transaction since (full xid) or later: writes that are concurrent with these may still come,
 * so their versions are needed. Under the active snapshot.
 */
extern void state_export(Relation rel, uint64 since, ReturnSetInfo *result);

/* Stores such a row's state here. */
extern void state_import(Relation rel, Jsonb *state);

#endif							/* REPLICATION_PLUGIN_STATE_COPY_H */
