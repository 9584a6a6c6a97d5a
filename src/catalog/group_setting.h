/*
 * group_setting.h
 *		Settings of the whole group: rows of a replicated table, the same on all members at rest.
 */
#ifndef REPLICATION_PLUGIN_GROUP_SETTING_H
#define REPLICATION_PLUGIN_GROUP_SETTING_H

/* What becomes of tables that are created without a key. */
#define GROUP_SETTING_KEYLESS_TABLES	"keyless_tables"	/* 'refuse' or 'full' */

/* Where a node is that has moved, by its number: see schema/43_node_dsn.sql. */
#define GROUP_SETTING_NODE_DSN	"dsn of node %d"

/*
 * The value of a setting as this node has it, palloc'd; NULL where nobody has set it. Needs a
 * transaction.
 */
extern char *group_setting(const char *name);

#endif							/* REPLICATION_PLUGIN_GROUP_SETTING_H */
