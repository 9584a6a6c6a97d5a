/*
 * names.h
 *		Names of the extension's schema, tables, slots and origins: one place.
 */
#ifndef REPLICATION_PLUGIN_NAMES_H
#define REPLICATION_PLUGIN_NAMES_H

#include "model/version.h"

#define EXTENSION_NAME		"replication_plugin"
#define EXTENSION_VERSION	"1.1"	/* the SQL that this library belongs to, as in the Makefile */
#define EXTENSION_SCHEMA	"replication_plugin"
#define PEER_ROLE			"replication_plugin_peer"
#define PLUGIN_NAME			"replication_plugin"	/* output plugin and library */

/* SQLSTATEs by which a node learns from another that it is out. */
#define ERRCODE_NODE_REMOVED		MAKE_SQLSTATE('R', 'P', '0', '0', '1')
#define ERRCODE_NODE_NEEDS_REJOIN	MAKE_SQLSTATE('R', 'P', '0', '0', '2')

/* By which an applier says that the rows of a table take so long that it has to wait. */
#define ERRCODE_TABLE_TOO_SLOW		MAKE_SQLSTATE('R', 'P', '0', '0', '3')

/* Tables that every node holds alike: their rows are replicated. */
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

/* Tables of this node alone. */
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
 * Oid of the extension's schema, or InvalidOid; of one of its relations, or InvalidOid. Needs a
 * transaction.
 */
extern Oid	extension_schema_oid(void);
extern Oid	extension_relation_oid(const char *relname);

/* True if the extension is created in this database. Needs a transaction. */
extern bool extension_exists(void);

/*
 * Version of the extension's SQL in this database, palloc'd; NULL if it is not created. Needs a
 * transaction.
 */
extern char *extension_version(void);

/*
 * True if the extension is created, and it cannot be dropped until the end of the transaction.
 * Workers do this before they use any of its tables: DROP locks the extension before all that
 * belongs to it, so neither can wait for the other with locks in hand.
 */
extern bool extension_lock(void);

/*
 * "replication_plugin_<database oid>_<subscriber>": the slot on a provider that feeds a subscriber.
 * palloc'd.
 */
extern char *slot_name(Oid dboid, NodeId subscriber);

/*
 * "replication_plugin_<database oid>_<node>": the origin that marks a node's transactions here.
 * palloc'd.
 */
extern char *origin_name(Oid dboid, NodeId node);

/*
 * "replication_plugin_<database oid>_group": the slot that keeps what any member may lack.
 * palloc'd.
 */
extern char *group_slot_name(Oid dboid);

/* The reserved origin of local repairs and of copied rows: never sent to anybody. palloc'd. */
extern char *repair_origin_name(Oid dboid);
extern char *clock_origin_name(Oid dboid);

#endif							/* REPLICATION_PLUGIN_NAMES_H */
