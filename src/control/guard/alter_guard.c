/*
 * alter_guard.c
 *		Refuses changes of replicated tables that would invalidate what is stored about them.
 *
 * Tombstones store keys in the key's type (store/tombstone.h). PostgreSQL refuses to change the
 * type of a key column anyway, because a trigger of the extension names it; this file raises an
 * error that says what can be done.
 *
 * Policies and merges of columns are stored by name, since nodes have names in common. A table or
 * column with a policy or merge must keep its name: under another name it would lose them, on one
 * node after the other.
 *
 * A replicated table cannot have a foreign table as a partition: its rows would be on another
 * server, and writes to it would be in no WAL, so other nodes would never receive them.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "control/guard/alter_guard.h"
#include "control/join/restore_guard.h"

/* Returns true if a column belongs to a table's key. */
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

/* Raises an error for a change of the type of a key column. */
static void
check_type_change(Relation rel, const char *column)
{
	char	   *table;

	if (!is_key_column(rel, column) || !table_is_replicated(rel))
		return;
	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									   RelationGetRelationName(rel));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot change the type of column \"%s\", which is in the key of the replicated table %s", column, table),
			 errhint("Stop writing to the table, call SELECT replication_plugin.exclude_table('%s'), change the column on all nodes,"
					 " and call SELECT replication_plugin.include_table('%s').", table, table)));
}

/*
 * Opens the table that a command names, if it is in a group and the user may change it. Returns
 * NULL if PostgreSQL itself refuses the command.
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

/* Raises an error for another name or schema of a table. */
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

/* Checks a new name or schema of a table, or a new name of a column. */
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

/* Checks a new name of a schema. */
static void
check_schema_rename(const char *schema)
{
	Oid			nspoid = get_namespace_oid(schema, true);
	char	   *table;

	if (!OidIsValid(nspoid) || !pg_namespace_ownercheck(nspoid, GetUserId()) ||
		!extension_exists() || nodes_local_id() == INVALID_NODE_ID)
		return;
	table = table_policy_any(schema);
	if (table)
		refuse_rename(psprintf("schema \"%s\"", schema), pstrdup(schema), table);
}

/* Checks ALTER ... RENAME. */
static void
check_rename_statement(RenameStmt *stmt)
{
	if (stmt->renameType == OBJECT_SCHEMA)
		check_schema_rename(stmt->subname);
	else if (stmt->renameType == OBJECT_TABLE || stmt->renameType == OBJECT_VIEW ||
			 stmt->renameType == OBJECT_INDEX)
		check_rename(stmt->relation, NULL);
	else if (stmt->renameType == OBJECT_COLUMN)
		check_rename(stmt->relation, stmt->subname);
}

/* Checks ALTER TABLE. */
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
 * Raises an error for a foreign table, or a partitioned one with a foreign partition, as a
 * partition of a replicated table. foreign: name of the foreign table, or NULL.
 */
static void
alter_guard_refuse_foreign_partition(RangeVar *parent, const char *foreign)
{
	/* A joining node takes what the source has. It does not know the exclusions yet. */
	Relation	rel = foreign && !schema_is_being_restored() ? open_own(parent) : NULL;

	if (!rel)
		return;
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && table_is_replicated(rel))
	{
		Oid			root = table_root(RelationGetRelid(rel));
		char	   *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(root)),
													   get_rel_name(root));

		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign table \"%s\" cannot be a partition of the replicated table %s", foreign, table),
				 errdetail("Its rows are on another server, and changes of them would not get to other nodes."),
				 errhint("A table that is not replicated can have foreign partitions: SELECT replication_plugin.exclude_table('%s').", table)));
	}
	relation_close(rel, AccessShareLock);
}

/* Checks ALTER TABLE ... ATTACH PARTITION. */
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
		alter_guard_refuse_foreign_partition(stmt->relation,
											 get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE
												 ? get_rel_name(relid)
												 : table_foreign_partition(relid));
	}
}

/* Checks CREATE FOREIGN TABLE ... PARTITION OF. */
static void
check_foreign_table(CreateForeignTableStmt *stmt)
{
	if (stmt->base.partbound && stmt->base.inhRelations)
		alter_guard_refuse_foreign_partition(linitial_node(RangeVar, stmt->base.inhRelations),
								 stmt->base.relation->relname);
}

/* Hook function for commands. */
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
