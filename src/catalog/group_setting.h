/*
 * group_setting.h
 *		Group settings: rows of a replicated table, the same on all members at rest.
 */
#ifndef REPLICATION_PLUGIN_GROUP_SETTING_H
#define REPLICATION_PLUGIN_GROUP_SETTING_H

/* What happens to tables that are created without a key. */
#define GROUP_SETTING_KEYLESS_TABLES	"keyless_tables"	/* 'refuse' or 'full' */

/* The dsn of a node that has moved, by its number; see schema/43_node_dsn.sql. */
#define GROUP_SETTING_NODE_DSN	"dsn of node %d"

/*
 * Returns the value of a setting as this node has it, palloc'd; NULL if it is not set. Needs a
 * transaction.
 */
extern char *group_setting(const char *name);

#endif							/* REPLICATION_PLUGIN_GROUP_SETTING_H */
