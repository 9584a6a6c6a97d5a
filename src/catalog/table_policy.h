/*
 * table_policy.h
 *		What a table does with concurrent writes: tables mergeable_table, table_setting and
 *		node_priority.
 */
#ifndef REPLICATION_PLUGIN_TABLE_POLICY_H
#define REPLICATION_PLUGIN_TABLE_POLICY_H

#include "utils/relcache.h"

#include "model/merge.h"
#include "model/version.h"

/* Which of a row's concurrent values is shown. */
typedef enum Policy
{
	POLICY_LAST_WRITE_WINS,
	POLICY_SIBLINGS,			/* the newest; the others are kept for clients to read */
	POLICY_HANDLER,				/* the result of the user's function */
	POLICY_NODE_PRIORITY,
	POLICY_FIRST_WRITE_WINS
} Policy;

/* A merged column. */
typedef struct ColumnPolicy
{
	AttrNumber	attnum;
	MergeKind	kind;
	bool		retired;		/* writes replace the whole value */
} ColumnPolicy;

typedef struct TablePolicy
{
	bool		mergeable;		/* concurrent values are kept, and the other fields are set */
	bool		young;			/* not settled: plain writes may still arrive */
	Policy		policy;
	/* signature, or NULL; resolved at use, as the function may be missing on this node */
	char	   *handler;
	int			npriority;
	NodeId	   *priority;		/* nodes whose writes win, in descending order of priority */
	int			ncolumns;
	ColumnPolicy *columns;		/* by attribute number */
} TablePolicy;

/* Reads the policy of a root table. Memory is allocated in CurrentMemoryContext. */
extern void table_policy_read(Relation root, TablePolicy *policy);

/* Returns true if a root table is mergeable. Works under the historic snapshot of decoding. */
extern bool table_is_mergeable(Relation root);

/*
 * Returns the name, palloc'd, of a mergeable table in a schema that is replicated; NULL if there is
 * none.
 */
extern char *table_policy_any(const char *schema);

extern const char *policy_name(Policy policy);

#endif							/* REPLICATION_PLUGIN_TABLE_POLICY_H */
