/*
 * names.h
 *		The names of the extension's schema, tables, slots and origins, in one place.
 */
#ifndef REPLICATION_PLUGIN_NAMES_H
#define REPLICATION_PLUGIN_NAMES_H

#include "model/version.h"

#define EXTENSION_NAME		"replication_plugin"
#define EXTENSION_SCHEMA	"replication_plugin"
#define PEER_ROLE			"replication_plugin_peer"
#define PLUGIN_NAME			"replication_plugin"	/* of the output plugin; processes are named after it */

/* SQLSTATEs that tell a node, when it asks another one, that it is out of the group. */
#define ERRCODE_NODE_REMOVED		MAKE_SQLSTATE('R', 'P', '0', '0', '1')
#define ERRCODE_NODE_NEEDS_REJOIN	MAKE_SQLSTATE('R', 'P', '0', '0', '2')

/* SQLSTATE of apply when the rows of a table take so long that the table has to wait. */
#define ERRCODE_TABLE_TOO_SLOW		MAKE_SQLSTATE('R', 'P', '0', '0', '3')

/* Tables that are the same on every node, as their rows are replicated. */
#define TABLE_MEMBER			"member"
#define TABLE_MEMBER_READY		"member_ready"
#define TABLE_REMOVAL			"removal"
#define TABLE_TOPOLOGY_SETTING	"topology_setting"
#define TABLE_FRONTIER			"frontier"
#define TABLE_TABLE_SETTING		"table_setting"
#define TABLE_MERGEABLE_TABLE	"mergeable_table"
#define TABLE_COLUMN_MERGE		"column_merge"
#define TABLE_NODE_PRIORITY		"node_priority"
#define TABLE_AWAITED_STATE		"awaited_state"
#define TABLE_GROUP_SETTING		"group_setting"
#define TABLE_OUT_OF_STEP		"out_of_step"
#define TABLE_EXCLUSION			"exclusion"
#define TABLE_WAITING_CHANGE	"waiting_change"

/*
 * Those of them that a joining node copies: all but waiting_change, since a receiver takes its rows
 * for the changes that they hold. FIRST is applied to the first table, and NEXT to each other one.
 * `.ci/check_own_tables.pl` compares the lists in SQL scripts with this one.
 */
#define OWN_COPIED_TABLES(FIRST, NEXT) \
	FIRST(TABLE_MEMBER) NEXT(TABLE_MEMBER_READY) NEXT(TABLE_REMOVAL) NEXT(TABLE_TOPOLOGY_SETTING) \
	NEXT(TABLE_FRONTIER) NEXT(TABLE_TABLE_SETTING) NEXT(TABLE_MERGEABLE_TABLE) \
	NEXT(TABLE_COLUMN_MERGE) NEXT(TABLE_NODE_PRIORITY) NEXT(TABLE_AWAITED_STATE) \
	NEXT(TABLE_GROUP_SETTING) NEXT(TABLE_OUT_OF_STEP) NEXT(TABLE_EXCLUSION)

/* Tables of one node alone. */
#define TABLE_LOCAL_NODE	"local_node"
#define TABLE_LINK			"link"
#define TABLE_WAITING_TABLE	"waiting_table"
#define TABLE_MESSAGE_SECRET	"message_secret"
#define TABLE_STABLE_POINT	"stable_point"
#define TABLE_TOMBSTONE		"tombstone"
#define INDEX_TOMBSTONE		"tombstone_key"
#define TABLE_ROW_STATE		"row_state"
#define INDEX_ROW_STATE		"row_state_key"
#define TABLE_PARKED_ROW	"parked_row"
#define INDEX_PARKED_ROW	"parked_row_key"
#define TABLE_ROW_PIN		"row_pin"
#define TABLE_TABLE_REWRITE	"table_rewrite"
#define INDEX_ROW_PIN		"row_pin_key"
#define TABLE_MERGE_SETTLED	"merge_settled"

/*
 * Return the OID of the extension's schema, and of one of its relations; InvalidOid if it does not
 * exist. Need a transaction.
 */
extern Oid	extension_schema_oid(void);
extern Oid	extension_relation_oid(const char *relname);

/* Returns true if the extension is created in this database. Needs a transaction. */
extern bool extension_exists(void);

/*
 * Returns the version of the extension's SQL in this database, palloc'd; NULL if it is not created.
 * Needs a transaction.
 */
extern char *extension_version(void);

/*
 * Locks the extension, so that it cannot be dropped before the end of the transaction. Returns
 * false if it is not created. A worker must call this before it uses any of the extension's tables:
 * DROP locks the extension before the objects that belong to it, so neither can wait for the other
 * while it holds locks.
 */
extern bool extension_lock(void);

/*
 * Returns "replication_plugin_<database oid>_<subscriber>", palloc'd: the slot on a provider that
 * feeds a subscriber.
 */
extern char *slot_name(Oid dboid, NodeId subscriber);

/*
 * Returns "replication_plugin_<database oid>_<node>", palloc'd: the origin that marks a node's
 * transactions on this server.
 */
extern char *origin_name(Oid dboid, NodeId node);

/*
 * Returns "replication_plugin_<database oid>_group", palloc'd: the slot that keeps what any member
 * may lack.
 */
extern char *group_slot_name(Oid dboid);

/*
 * Return the names, palloc'd, of the origin of local repairs and copied rows, which are never sent,
 * and of the origin that local COMMIT PREPARED uses (shared/commit_stamp.c).
 */
extern char *repair_origin_name(Oid dboid);
extern char *clock_origin_name(Oid dboid);

#endif							/* REPLICATION_PLUGIN_NAMES_H */
