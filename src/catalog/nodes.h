/*
 * nodes.h
 *		Typed access to the tables local_node, member, member_ready and removal. All functions
 *		need a transaction, except nodes_others().
 */
#ifndef REPLICATION_PLUGIN_NODES_H
#define REPLICATION_PLUGIN_NODES_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "model/version.h"

/* The last run of this server that local_node tells of, and in which group. */
typedef struct NodeRun
{
	uint8		group[UUID_LEN];
	NodeId		node;
	int64		number;			/* of the runs of this server as a member, from 1 */
	int64		token;			/* instance_token() of that run; 0: none is noted */
	XLogRecPtr	start;			/* end of the WAL when it began */
} NodeRun;

/* The row of local_node: this database as a member, or as one that joins or has left. */
typedef struct LocalNode
{
	char	   *group_id;		/* uuid text */
	char	   *group_name;
	NodeId		node_id;
	char	   *node_name;
	char	   *dsn;
	char	   *state;			/* joining: ..., ready, leaving, removed, needs_rejoin, left */
	NodeId		source_id;		/* joining: the member through which it joins */
	char	   *source_dsn;
	bool		copy_schema;
	bool		copy_data;
	bool		announced;		/* ready: all members know it */
	/* local rows of older transactions have no version: other nodes have them as copied rows */
	uint64		since_xid;
	NodeId		copy_of;		/* member of which this server is a copy, or INVALID_NODE_ID */
	uint64		copy_since;		/* rows of this transaction, or of later ones, are that member's */
	NodeRun		run;
	char	   *failed_state;	/* joining: state at the last error; NULL if none is noted */
} LocalNode;

/* A member of the group, from the replicated tables member, member_ready and removal. */
typedef struct NodeRow
{
	NodeId		node_id;
	char	   *node_name;
	char	   *dsn;
	const char *state;			/* joining, ready, removed */
	char	   *add_frontier;	/* frontier text of the node that admitted it; NULL for the first */
} NodeRow;

/* Returns the local node, palloc'd; NULL if this database is in no group. */
extern LocalNode *nodes_local(void);

/*
 * Returns this database's node number; INVALID_NODE_ID if it is in no group. Cached per process;
 * invalidations reset the cache.
 */
extern NodeId nodes_local_id(void);

/*
 * Returns the last noted run of this server (cached likewise). It is this run only if its token is
 * instance_token(): a session may write before the manager has noted that the server runs anew.
 */
extern const NodeRun *nodes_local_run(void);

/* Returns the transaction since which this database is a member (cached likewise). */
extern uint64 nodes_local_since_xid(void);

/*
 * Returns the member of whose server this one is a physical copy, and in *since the transaction
 * since which that was a member; INVALID_NODE_ID if there is none (cached likewise).
 */
extern NodeId nodes_local_copy_of(uint64 *since);

/* Hook function for changes of tables (replication_plugin.c). */
extern void nodes_table_changed(Oid relid);

/*
 * Beginning of the refusal if the extension's SQL in this database has another version than the
 * library. That version follows.
 */
#define NODE_OTHER_VERSION	"version "

/*
 * Beginning of the refusal if this library does not speak the protocol on which the group has
 * agreed. That protocol follows.
 */
#define NODE_OTHER_PROTOCOL	"protocol "

/* Returns true if this database is in a group, or about to be (cached likewise). */
extern bool nodes_local_in_group(void);

/*
 * Return the state because of which local writes are refused, or NULL if they are not; and the
 * node's name (cached likewise).
 */
extern const char *nodes_local_refusal(void);
extern const char *nodes_local_name(void);

/* Returns all members and former members, by number, as a List of NodeRow *. */
extern List *nodes_all(void);

/*
 * Returns the other members that are not removed, likewise, in the caller's memory context. *me,
 * unless me is NULL, receives this node's number. Uses a transaction of its own.
 */
extern List *nodes_others(NodeId *me);
extern NodeRow *nodes_by_id(NodeId id);
extern NodeRow *nodes_by_name(const char *name);

/* Returns a node's name in such a list, for messages; "?" if it is not there. */
extern const char *nodes_name_in(List *nodes, NodeId id);

#endif							/* REPLICATION_PLUGIN_NODES_H */
