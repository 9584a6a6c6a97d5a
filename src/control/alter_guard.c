/*
 * alter_guard.c
 *		Refuses changes of replicated tables that their bookkeeping would not survive.
 *
 * Deletes are remembered by key, in the key's type (conflict/tombstone.h). PostgreSQL refuses to change the type of a key column anyway,
 * as a trigger of ours names it; here the refusal says what can be done.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "control/alter_guard.h"

static ProcessUtility_hook_type previous_utility_hook = NULL;

/* True if a column belongs to a table's key. */
static bool
is_key_column(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);
	AttrNumber *keys;
	int			n = table_key_attributes(rel, &keys);

	for (int i = 0; i < n; i++)
	{
		if (keys[i] == attnum)
			return true;
	}
	return false;
}

/* Refuses to change the type of a key column. */
static void
check_type_change(Relation rel, const char *column)
{
	char	   *table;

	if (!is_key_column(rel, column) || !table_is_replicated(rel))
		return;
	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot change the type of column \"%s\", which is in the key of the replicated table %s", column, table),
			 errhint("Stop writing to the table, call SELECT replication_plugin.exclude_table('%s'), change the column on all nodes,"
					 " and call SELECT replication_plugin.include_table('%s').", table, table)));
}

/* Looks at ALTER TABLE. */
static void
check_alter(AlterTableStmt *stmt)
{
	ListCell   *lc;
	Relation	rel = NULL;

	foreach(lc, stmt->objtype == OBJECT_TABLE ? stmt->cmds : NIL)
	{
		AlterTableCmd *cmd = lfirst(lc);

		if (cmd->subtype != AT_AlterColumnType)
			continue;
		if (!rel)
		{
			Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);

			if (!OidIsValid(relid) || !pg_class_ownercheck(relid, GetUserId()) ||
				!extension_exists() || nodes_local_id() == INVALID_NODE_ID)
				return;			/* PostgreSQL has its own word on it */
			rel = try_relation_open(relid, AccessShareLock);
			if (!rel)
				return;
		}
		check_type_change(rel, cmd->name);
	}
	if (rel)
		relation_close(rel, AccessShareLock);
}

/* The hook for commands. */
static void
guard_command(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
			  ParamListInfo params, QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	if (IsA(pstmt->utilityStmt, AlterTableStmt))
		check_alter((AlterTableStmt *) pstmt->utilityStmt);
	if (previous_utility_hook)
		previous_utility_hook(pstmt, query, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, env, dest, qc);
}

void
alter_guard_install(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = guard_command;
}
