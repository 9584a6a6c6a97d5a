/*
 * nodes.h
 *		Typed access to the tables local_node, member, member_ready and removal. All need a
 *		transaction.
 */
#ifndef REPLICATION_PLUGIN_NODES_H
#define REPLICATION_PLUGIN_NODES_H

#include "nodes/pg_list.h"

#include "model/version.h"

/* local_node: this database as a member, or on its way to be one. */
typedef struct LocalNode
{
	char	   *group_id;		/* uuid text */
	char	   *group_name;
	NodeId		node_id;
	char	   *node_name;
	char	   *dsn;
	char	   *state;			/* joining: ..., ready, leaving, removed, needs_rejoin, left */
	NodeId		source_id;		/* joining: through which member */
	char	   *source_dsn;
	bool		copy_schema;
	bool		copy_data;
	bool		announced;		/* ready: all members know */
	/* its local rows of older transactions have no version: others have them as copied rows */
	uint64		since_xid;
	NodeId		copy_of;		/* but: a physical copy of this member's server has its rows, ... */
	uint64		copy_since;		/* ... of this transaction or later; INVALID_NODE_ID: it is none */
	char	   *failed_state;	/* joining: state of the last error, NULL if none is noted */
} LocalNode;

/* A member of the group: tables member, member_ready and removal, replicated. */
typedef struct NodeRow
{
	NodeId		node_id;
	char	   *node_name;
	char	   *dsn;
	const char *state;			/* joining, ready, removed */
	char	   *add_frontier;	/* frontier text of the node that admitted it; NULL for the first */
} NodeRow;

/* The local node, or NULL when this database is in no group. */
extern LocalNode *nodes_local(void);

/*
 * This database's node number, INVALID_NODE_ID if in no group; cached per process, reset by
 * invalidation.
 */
extern NodeId nodes_local_id(void);

/* The transaction since which this database is a member (cached likewise). */
extern uint64 nodes_local_since_xid(void);

/*
 * The member of whose server this one is a physical copy, and since when that was a member;
 * INVALID_NODE_ID: none (cached likewise).
 */
extern NodeId nodes_local_copy_of(uint64 *since);

/*
 * Begins the refusal where the extension's SQL in this database is of another version than the
 * library; that version follows.
 */
#define NODE_OTHER_VERSION	"version "

/* Returns true if this database is in a group, or about to be (cached likewise). */
extern bool nodes_local_in_group(void);

/*
 * NULL if local writes are welcome, else the state because of which they are not (cached likewise);
 * the node's name.
 */
extern const char *nodes_local_refusal(void);
extern const char *nodes_local_name(void);

/* All members and former members by number, as a List of NodeRow *. */
extern List *nodes_all(void);

/*
 * The other members that are not removed, likewise, in the caller's memory; and the own number,
 * unless me is NULL. In a transaction of its own.
 */
extern List *nodes_others(NodeId *me);
extern NodeRow *nodes_by_id(NodeId id);
extern NodeRow *nodes_by_name(const char *name);

/* A node's name in such a list, for messages; "?" if it is not there. */
extern const char *nodes_name_in(List *nodes, NodeId id);

#endif							/* REPLICATION_PLUGIN_NODES_H */
