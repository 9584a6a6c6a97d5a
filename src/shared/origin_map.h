/*
 * origin_map.h
 *		The map from replication origins (PostgreSQL's numbers) to nodes. It is kept in shared
 *		memory because the output plugin needs it where catalogs cannot be read.
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_MAP_H
#define REPLICATION_PLUGIN_ORIGIN_MAP_H

#include "replication/origin.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "model/version.h"

#define ORIGIN_NODE_LOCAL	((NodeId) 0)	/* not from a node of the group: a local write */
/* copied or repaired here: never sent, oldest version */
#define ORIGIN_NODE_REPAIR	((NodeId) -1)
/* further sessions of a join that copy tables; read as ORIGIN_NODE_REPAIR */
#define ORIGIN_NODE_COPY	((NodeId) -3)
/* of local COMMIT PREPARED; only used to make and find the origin, read as ORIGIN_NODE_LOCAL */
#define ORIGIN_NODE_CLOCK	((NodeId) -2)

extern const ShmemArea origin_map_area;

/*
 * Reads pg_replication_origin, once per database and server start. Uses the current transaction, or
 * one of its own.
 */
extern void origin_map_ensure_loaded(void);

/* Reads pg_replication_origin again, after SQL has made origins. Needs a transaction. */
extern void origin_map_reload(void);

/*
 * Returns the node of an origin number in this database: a node, ORIGIN_NODE_LOCAL or
 * ORIGIN_NODE_REPAIR. Reads no catalog. A process that can be the first since the server was
 * started must call origin_map_ensure_loaded() before.
 */
extern NodeId origin_map_node(RepOriginId origin);

/* Returns a number that changes whenever an origin number may have come to mean another node. */
extern uint64 origin_map_generation(void);

/*
 * Returns the origin of a node, or of ORIGIN_NODE_CLOCK; InvalidRepOriginId if there is none yet.
 * Reads no catalog.
 */
extern RepOriginId origin_map_origin(NodeId node);

/*
 * Returns the origin of a node, and creates it if it is missing. Needs a transaction. Until that
 * has committed, nothing may be written under the origin, and its progress may not move: if the
 * transaction is rolled back, the number can become another origin's.
 */
extern RepOriginId origin_map_create(NodeId node);	/* or ORIGIN_NODE_REPAIR, ORIGIN_NODE_CLOCK */

/*
 * Creates the origin of a node that is out, if it is missing. progress: how far its transactions
 * are applied here. The origin takes no place for progress. Needs a transaction.
 */
extern void origin_map_create_former(NodeId node, XLogRecPtr progress);

/*
 * Gives up the place for progress of a node's origin, so that another origin can use it. The number
 * remains the node's. Used for nodes that are out, when no more of their transactions are applied;
 * if one is applied nevertheless, the origin gets a place again. Uses transactions of its own.
 */
extern void origin_map_retire(NodeId node);

/* Returns true if a node's origin takes a place for progress. */
extern bool origin_map_has_place(NodeId node);

/*
 * Drops all origins of this database, which leaves its group. Must be the last step of a
 * transaction, because the progress of the origins is lost even if the transaction is rolled back.
 */
extern void origin_map_drop_all(void);

/*
 * Return how far a node's transactions are applied here; InvalidXLogRecPtr if none is. The position
 * that origin_map_progress_durable() returns is also valid after a crash.
 */
extern XLogRecPtr origin_map_progress(NodeId node);
extern XLogRecPtr origin_map_progress_durable(NodeId node);

/* An origin of a group of this server, and its progress. */
typedef struct OriginPlace
{
	Oid			dboid;
	RepOriginId origin;
	NodeId		node;
	XLogRecPtr	progress;
} OriginPlace;

/*
 * Notes in the map the progress of all origins of this server's groups, so that it survives if a
 * session drops an origin. Returns the origins in *places, palloc'd, and their number.
 */
extern int	origin_map_keep_progress(OriginPlace **places);

/*
 * Returns true if an origin belongs to its group, and will after the current transaction as well.
 */
extern bool origin_map_keeps(const OriginPlace *place);

/*
 * Writes the noted progress of origins that have lost theirs into their names. Uses transactions of
 * its own.
 */
extern void origin_map_secure_progress(void);

/* Returns all nodes that have an origin here in *nodes, palloc'd, in no order, and their number. */
extern int	origin_map_nodes(NodeId **nodes);

/* Registers for the end of transactions. Called from _PG_init() only. */
extern void origin_map_install(bool preloaded);

#endif							/* REPLICATION_PLUGIN_ORIGIN_MAP_H */
