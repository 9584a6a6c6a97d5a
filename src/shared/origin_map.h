/*
 * origin_map.h
 *		Which replication origin (PostgreSQL's number) is which node, kept in shared
 *		memory because the output plugin must know it where catalogs cannot be read.
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_MAP_H
#define REPLICATION_PLUGIN_ORIGIN_MAP_H

#include "replication/origin.h"

#include "base/shmem.h"
#include "model/version.h"

#define ORIGIN_NODE_LOCAL	((NodeId) 0)	/* not from one of our nodes: a local write */
/* copied or repaired here: never sent, oldest version */
#define ORIGIN_NODE_REPAIR	((NodeId) -1)
/* further copying sessions of a join; read as ORIGIN_NODE_REPAIR */
#define ORIGIN_NODE_COPY	((NodeId) -3)
/* local COMMIT PREPARED; only to make and find the origin, read as ORIGIN_NODE_LOCAL */
#define ORIGIN_NODE_CLOCK	((NodeId) -2)

extern const ShmemArea origin_map_area;

/*
 * Reads pg_replication_origin once per database and server start. Uses, or opens and closes, a
 * transaction.
 */
extern void origin_map_ensure_loaded(void);

/* Reads it again: origins were made by SQL. Needs a transaction. */
extern void origin_map_reload(void);

/*
 * Node of an origin number in this database: a node, ORIGIN_NODE_LOCAL or ORIGIN_NODE_REPAIR. No
 * catalog access: whoever can be the first since the server was started calls
 * origin_map_ensure_loaded() before.
 */
extern NodeId origin_map_node(RepOriginId origin);

/* Moves whenever a number may have come to mean another node. */
extern uint64 origin_map_generation(void);

/*
 * Origin of a node, or ORIGIN_NODE_CLOCK; InvalidRepOriginId if it has none yet. No catalog access.
 */
extern RepOriginId origin_map_origin(NodeId node);

/*
 * The same, created when missing. Needs a transaction, and nothing may be written under the origin,
 * nor its progress be moved, before that has committed: its number is another one's if it is rolled
 * back.
 */
extern RepOriginId origin_map_create(NodeId node);	/* or ORIGIN_NODE_REPAIR, ORIGIN_NODE_CLOCK */

/*
 * The same for a node that is out, with what is applied here of it; it takes no place for progress.
 */
extern void origin_map_create_former(NodeId node, XLogRecPtr progress);

/*
 * Gives the place for progress of a node's origin back, for others; the number stays the node's.
 * For nodes that are out, when nothing of them is applied any more; if it is nevertheless, it gets
 * a place again. Transactions of its own.
 */
extern void origin_map_retire(NodeId node);

/* True if a node's origin takes a place. */
extern bool origin_map_has_place(NodeId node);

/*
 * Drops all origins of this database (leaving a group). Needs a transaction, as its last step: what
 * progress they had is lost also if it is rolled back.
 */
extern void origin_map_drop_all(void);

/*
 * How far a node's transactions are applied here; InvalidXLogRecPtr if none. durable: also after a
 * crash.
 */
extern XLogRecPtr origin_map_progress(NodeId node);
extern XLogRecPtr origin_map_progress_durable(NodeId node);

/* An origin of a group of this server. */
typedef struct OriginPlace
{
	Oid			dboid;
	RepOriginId origin;
	NodeId		node;
	XLogRecPtr	progress;
} OriginPlace;

/*
 * Notes how far all origins of this server's groups have got, so that it is known also when
 * somebody drops one; palloc'd.
 */
extern int	origin_map_keep_progress(OriginPlace **places);

/* True if an origin is still one of its group, also after this transaction. */
extern bool origin_map_keeps(const OriginPlace *place);

/*
 * Writes the noted progress of origins that have lost theirs into their names. Transactions of its
 * own.
 */
extern void origin_map_secure_progress(void);

/* All nodes that have an origin here, in no order; palloc'd. */
extern int	origin_map_nodes(NodeId **nodes);

#endif							/* REPLICATION_PLUGIN_ORIGIN_MAP_H */
