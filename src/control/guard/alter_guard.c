/*
 * alter_guard.c
 *		Refuses changes of replicated tables that their bookkeeping would not survive.
 *
 * Deletes are remembered by key, in the key's type (store/tombstone.h). PostgreSQL refuses to
 * change the type of a key column anyway, as a trigger of ours names it; here the refusal says what
 * can be done.
 *
 * Policies and merges of columns are kept by name, as names are what nodes have in common. A table
 * or column that has one keeps its name as well: under another one it would go on without, on one
 * node after the other.
 *
 * A replicated table gets no partition that is a foreign table: its rows would be elsewhere, and
 * what is written to it would be in no WAL, so that other nodes never heard of it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "control/guard/alter_guard.h"
#include "control/join/restore_guard.h"

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

/*
 * A replicated table that a command is about, if its user may change it; NULL if PostgreSQL has its
 * own word on it.
 */
static Relation
open_own(RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);

	if (!OidIsValid(relid) || !pg_class_ownercheck(relid, GetUserId()) || !extension_exists() ||
		nodes_local_id() == INVALID_NODE_ID)
		return NULL;
	return try_relation_open(relid, AccessShareLock);
}

/* Refuses to give a table another name, or schema. */
static void
refuse_rename(const char *what, char *schema, char *name)
{
	char	   *table = quote_qualified_identifier(schema, name);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot rename %s: the conflict policy and column merges of table %s are known by its name", what, table),
			 errhint("Stop writing to the table, call SELECT replication_plugin.exclude_table('%s'), rename on all nodes,"
					 " and set policy and merges again.", table)));
}

/* Looks at a new name or schema of a table, or a new name of a column. */
static void
check_rename(RangeVar *name, const char *column)
{
	Relation	rel = name ? open_own(name) : NULL;
	TablePolicy policy;
	bool		known = false;

	if (!rel)
		return;
	if ((rel->rd_rel->relkind == RELKIND_RELATION) && table_is_replicated(rel))
	{
		table_policy_read(rel, &policy);
		known = policy.mergeable && !column;
		for (int i = 0; i < policy.ncolumns && column; i++)
			known |= policy.columns[i].attnum == get_attnum(RelationGetRelid(rel), column);
	}
	if (known)
		refuse_rename(column ? psprintf("column \"%s\"", column) : "the table",
					  get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel));
	relation_close(rel, AccessShareLock);
}

/* Looks at a new name of a schema. */
static void
check_schema_rename(const char *schema)
{
	Oid			nspoid = get_namespace_oid(schema, true);
	char	   *table;

	if (!OidIsValid(nspoid) || !pg_namespace_ownercheck(nspoid, GetUserId()) || !extension_exists() ||
		nodes_local_id() == INVALID_NODE_ID)
		return;
	table = table_policy_any(schema);
	if (table)
		refuse_rename(psprintf("schema \"%s\"", schema), pstrdup(schema), table);
}

/* Looks at ALTER ... RENAME. */
static void
check_rename_statement(RenameStmt *stmt)
{
	if (stmt->renameType == OBJECT_SCHEMA)
		check_schema_rename(stmt->subname);
	else if (stmt->renameType == OBJECT_TABLE || stmt->renameType == OBJECT_VIEW || stmt->renameType == OBJECT_INDEX)
		check_rename(stmt->relation, NULL);
	else if (stmt->renameType == OBJECT_COLUMN)
		check_rename(stmt->relation, stmt->subname);
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
			rel = open_own(stmt->relation);
			if (!rel)
				return;
		}
		check_type_change(rel, cmd->name);
	}
	if (rel)
		relation_close(rel, AccessShareLock);
}

/*
 * Refuses a foreign table, or a partitioned one that has one, as partition of a replicated table.
 * foreign: its name.
 */
static void
refuse_foreign_partition(RangeVar *parent, const char *foreign)
{
	/* a joining node takes what the source has; which tables are excluded is not known yet */
	Relation	rel = foreign && !schema_is_being_restored() ? open_own(parent) : NULL;

	if (!rel)
		return;
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && table_is_replicated(rel))
	{
		Oid			root = table_root(RelationGetRelid(rel));
		char	   *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(root)), get_rel_name(root));

		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign table \"%s\" cannot be a partition of the replicated table %s", foreign, table),
				 errdetail("Its rows are on another server, and changes of them would not get to other nodes."),
				 errhint("A table that is not replicated can have foreign partitions: SELECT replication_plugin.exclude_table('%s').", table)));
	}
	relation_close(rel, AccessShareLock);
}

/* Looks at ALTER TABLE ... ATTACH PARTITION. */
static void
check_attach(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objtype == OBJECT_TABLE ? stmt->cmds : NIL)
	{
		AlterTableCmd *cmd = lfirst(lc);
		Oid			relid;

		if (cmd->subtype != AT_AttachPartition)
			continue;
		relid = RangeVarGetRelid(castNode(PartitionCmd, cmd->def)->name, NoLock, true);
		refuse_foreign_partition(stmt->relation, get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ? get_rel_name(relid) : table_foreign_partition(relid));
	}
}

/* Looks at CREATE FOREIGN TABLE ... PARTITION OF. */
static void
check_foreign_table(CreateForeignTableStmt *stmt)
{
	if (stmt->base.partbound && stmt->base.inhRelations)
		refuse_foreign_partition(linitial_node(RangeVar, stmt->base.inhRelations), stmt->base.relation->relname);
}

/* The hook for commands. */
void
alter_guard_command(const UtilityCommand *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;

	if (IsA(stmt, AlterTableStmt))
	{
		check_alter((AlterTableStmt *) stmt);
		check_attach((AlterTableStmt *) stmt);
	}
	else if (IsA(stmt, CreateForeignTableStmt))
		check_foreign_table((CreateForeignTableStmt *) stmt);
	else if (IsA(stmt, RenameStmt))
		check_rename_statement((RenameStmt *) stmt);
	else if (IsA(stmt, AlterObjectSchemaStmt) &&
			 ((AlterObjectSchemaStmt *) stmt)->objectType == OBJECT_TABLE)
		check_rename(((AlterObjectSchemaStmt *) stmt)->relation, NULL);
	utility_next(command);
}
