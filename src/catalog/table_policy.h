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

/* Which of a row's concurrent values shows. */
typedef enum Policy
{
	POLICY_LAST_WRITE_WINS,
	POLICY_SIBLINGS,			/* the newest, and the others are kept for the client to see */
	POLICY_HANDLER,				/* what the user's function makes of them */
	POLICY_NODE_PRIORITY,
	POLICY_FIRST_WRITE_WINS
} Policy;

/* A column that merges by itself. */
typedef struct ColumnPolicy
{
	AttrNumber	attnum;
	MergeKind	kind;
	bool		retired;		/* writes replace the whole value */
} ColumnPolicy;

typedef struct TablePolicy
{
	bool		mergeable;		/* concurrent values are kept, and the rest of this counts */
	bool		young;			/* writes from before it was mergeable may still come */
	Policy		policy;
	/* signature, NULL if none; resolved when it is needed, as it may be missing here */
	char	   *handler;
	int			npriority;
	NodeId	   *priority;		/* nodes whose writes win, the first most */
	int			ncolumns;
	ColumnPolicy *columns;		/* in their order */
} TablePolicy;

/* Reads a root table's policy; in CurrentMemoryContext. */
extern void table_policy_read(Relation root, TablePolicy *policy);

/* True if a root table is mergeable; also under the historic snapshot of decoding. */
extern bool table_is_mergeable(Relation root);

/*
 * A mergeable table that is replicated and in a schema of that name, by its name; NULL if there is
 * none.
 */
extern char *table_policy_any(const char *schema);

extern const char *policy_name(Policy policy);

#endif							/* REPLICATION_PLUGIN_TABLE_POLICY_H */
