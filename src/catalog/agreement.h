/*
 * agreement.h
 *		What the members of the group have agreed on: the protocol, and with it the features and
 *		the columns of the extension's own tables that all of them know.
 */
#ifndef REPLICATION_PLUGIN_AGREEMENT_H
#define REPLICATION_PLUGIN_AGREEMENT_H

/* The agreed protocol, as a number; finish_upgrade() raises it (schema/44_versions.sql). */
#define GROUP_SETTING_PROTOCOL	"protocol"

/*
 * What a member tells of its library, by its number:
 * "extension=1.1 oldest=5 newest=5 features=a,b". A reader ignores names that it does not know.
 */
#define GROUP_SETTING_VERSION	"version of node %d"

/*
 * Returns the protocol on which the group has agreed, as this node knows it. It never falls. Needs
 * a transaction.
 */
extern int	group_protocol(void);

/*
 * Returns why this library cannot be a member of a group that speaks a protocol, and sets *fix; NULL
 * if it can. Both are palloc'd.
 */
extern char *protocol_problem(int protocol, char **fix);

/*
 * Returns true if the group has agreed on a feature: on a protocol that has it. What depends on a
 * feature changes outcomes, so all members must have it. Raises an error for an unknown name. Needs
 * a transaction.
 */
extern bool feature_is_agreed(const char *name);

/*
 * Raises an error unless the group has agreed on a feature. The error names the members that lack
 * it. Needs a transaction.
 */
extern void feature_require(const char *name);

/* Returns the names of the features of this library, with commas between, palloc'd. */
extern char *feature_names(void);

/*
 * Returns the protocol since which a replicated table of the extension has a column, or, if column
 * is NULL, since which it exists.
 */
extern int	own_table_since(const char *table, const char *column);

#endif							/* REPLICATION_PLUGIN_AGREEMENT_H */
