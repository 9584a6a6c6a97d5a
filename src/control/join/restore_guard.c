/*
 * restore_guard.c
 *		Changes how commands run while the schema of a joining node is restored.
 *
 * Foreign keys are taken over as the source has them. If rows are written on several nodes at once,
 * a reference may be left without its row (dangling_references()). The constraint stays valid for
 * everything that is written on that node, but PostgreSQL would refuse to create it again, so the
 * node could not join. Therefore the restore does not validate copied rows, which also saves time.
 * The same holds for a CHECK constraint that is added after the rows because it calls a function of
 * the table's type: all rows fulfil it on the source, and checking them would run the owner's code.
 *
 * What servers of other minor releases note in a schema for themselves is left out.
 *
 * A schema that exists on this node is taken as it is: join_group() has checked that it is empty.
 * The same holds for foreign servers and their user mappings: this node may use them to connect to
 * others, and has its own options for them.
 *
 * Functions run under the search_path of a table's owner where they have to. pg_dump writes its
 * statements for an empty search_path. But a function that an index, a constraint or a partition
 * key calls may find the names in its body by the search_path of its users' sessions, and the
 * statement itself runs or inlines it. Therefore a statement that fails under the empty search_path
 * is repeated under that of the table's owner or, while that owner is not set yet, under that of
 * each function's owner (catalog/owner_path.h). The function runs as its owner (base/code_hook.h),
 * since the statement is a superuser's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/session.h"
#include "catalog/owner_path.h"
#include "control/join/restore_guard.h"

static bool restoring = false;

/* Marks the foreign keys and CHECK constraints that a statement adds to skip validation. */
static void
restore_guard_trust(AlterTableStmt *statement)
{
	ListCell   *lc;

	foreach(lc, statement->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Constraint *c = (Constraint *) cmd->def;

		if (cmd->subtype == AT_AddConstraint && IsA(c, Constraint) &&
			(c->contype == CONSTR_FOREIGN || c->contype == CONSTR_CHECK))
			c->skip_validation = true;	/* valid nevertheless, if valid on the source */
	}
}

/*
 * Drops "pg_attver" from the options that a statement sets for columns. Servers since the minor
 * releases 15.20 and 17.12 note there when a column was changed, and a pg_dump of another release
 * writes it as if it were an option. This server may not know it, and has a number of its own.
 */
static void
forget_attribute_versions(AlterTableStmt *statement)
{
	ListCell   *lc;

	foreach(lc, statement->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		List	   *options = NIL;
		ListCell   *option;

		if (cmd->subtype != AT_SetOptions)
			continue;
		foreach(option, (List *) cmd->def)
		{
			if (strcmp(lfirst_node(DefElem, option)->defname, "pg_attver") != 0)
				options = lappend(options, lfirst(option));
		}
		cmd->def = (Node *) options;
	}
}

/* ---------- names without schemas ---------- */

/* Adds the owners of the functions that an expression calls to a list of roles. */
static bool
add_owners(Node *node, List **roles)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncCall))
	{
		FuncCandidateList f = functions_of_name(((FuncCall *) node)->funcname);

		for (; f; f = f->next)
		{
			HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(f->oid));

			if (HeapTupleIsValid(tuple) && f->oid >= FirstNormalObjectId)
				*roles =
					list_append_unique_oid(*roles, ((Form_pg_proc) GETSTRUCT(tuple))->proowner);
			if (HeapTupleIsValid(tuple))
				ReleaseSysCache(tuple);
		}
	}
	return raw_expression_tree_walker(node, add_owners, roles);
}

/* Adds the owner of a table, if it exists, to a list of roles. */
static void
add_owner_of(RangeVar *name, List **roles)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);
	HeapTuple	tuple = OidIsValid(relid) ? SearchSysCache1(RELOID, ObjectIdGetDatum(relid)) : NULL;

	if (!HeapTupleIsValid(tuple))
		return;
	*roles = list_append_unique_oid(*roles, ((Form_pg_class) GETSTRUCT(tuple))->relowner);
	ReleaseSysCache(tuple);
}

/* Returns the expressions of an index. */
static List *
index_expressions(IndexStmt *statement)
{
	List	   *result = statement->whereClause ? list_make1(statement->whereClause) : NIL;
	ListCell   *lc;

	foreach(lc, statement->indexParams)
	{
		if (lfirst_node(IndexElem, lc)->expr)
			result = lappend(result, lfirst_node(IndexElem, lc)->expr);
	}
	return result;
}

/* Returns the expressions of a constraint, or of a column's constraints. */
static List *
element_expressions(Node *element)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (IsA(element, ColumnDef))
	{
		foreach(lc, ((ColumnDef *) element)->constraints)
			result = list_concat(result, element_expressions(lfirst(lc)));
	}
	else if (IsA(element, Constraint))
	{
		Constraint *c = (Constraint *) element;

		result = c->raw_expr ? lappend(result, c->raw_expr) : result;
		result = c->where_clause ? lappend(result, c->where_clause) : result;
		foreach(lc, c->exclusions)
		{
			IndexElem  *e = linitial(lfirst(lc));

			result = e->expr ? lappend(result, e->expr) : result;
		}
	}
	return result;
}

/* Returns the expressions of a new table. */
static List *
table_expressions(CreateStmt *statement)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, statement->tableElts)
		result = list_concat(result, element_expressions(lfirst(lc)));
	foreach(lc, statement->partspec ? statement->partspec->partParams : NIL)
	{
		if (lfirst_node(PartitionElem, lc)->expr)
			result = lappend(result, lfirst_node(PartitionElem, lc)->expr);
	}
	return result;
}

/*
 * Returns the expressions that an ALTER TABLE adds. Sets *by_key if it evaluates the partition key.
 */
static List *
added_expressions(AlterTableStmt *statement, bool *by_key)
{
	List	   *result = NIL;
	ListCell   *lc;

	*by_key = false;
	foreach(lc, statement->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AddConstraint)
			result = list_concat(result, element_expressions(cmd->def));
		else if (cmd->subtype == AT_ColumnDefault && cmd->def)
			result = lappend(result, cmd->def);
		*by_key |= cmd->subtype == AT_AttachPartition;
	}
	return result;
}

/*
 * Returns the roles whose functions a statement may run: the table's owner, if known already, and
 * the owners of the functions.
 */
static List *
owners_of_code(Node *statement)
{
	List	   *expressions = NIL;
	List	   *roles = NIL;
	ListCell   *lc;
	bool		by_key;

	switch (nodeTag(statement))
	{
		case T_IndexStmt:
			expressions = index_expressions((IndexStmt *) statement);
			if (expressions != NIL)
				add_owner_of(((IndexStmt *) statement)->relation, &roles);
			break;
		case T_AlterTableStmt:
			expressions = added_expressions((AlterTableStmt *) statement, &by_key);
			if (expressions != NIL || by_key)
				add_owner_of(((AlterTableStmt *) statement)->relation, &roles);
			break;
		case T_RefreshMatViewStmt:
			add_owner_of(((RefreshMatViewStmt *) statement)->relation, &roles);
			break;
		case T_CreateStmt:
			expressions = table_expressions((CreateStmt *) statement);
			break;
		default:
			break;
	}
	foreach(lc, expressions)
		(void) add_owners(lfirst(lc), &roles);
	return roles;
}

/*
 * Returns true if an error can be caused by names that were not found, or were found as another
 * object.
 */
static bool
is_about_names(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		   sqlstate == ERRCODE_RAISE_EXCEPTION;
}

/*
 * Runs a statement in a subtransaction. Returns true if it succeeded. Raises errors that are not
 * about names, and any error of the last try.
 */
static bool
try_run(const UtilityCommand *command, bool last)
{
	UtilityCommand again = *command;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	again.read_only_tree = true;	/* the next try needs the tree */
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		utility_next(&again);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		if (last || !is_about_names(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * Runs a statement as it is and, if it does not find names, under the paths of the roles in turn.
 */
static void
run_under_paths(const UtilityCommand *command, List *roles)
{
	bool		done = try_run(command, false);
	ListCell   *lc;

	foreach(lc, roles)
	{
		int			nest;

		if (done)
			break;
		nest = session_pin_path(owner_path(lfirst_oid(lc)));
		done = try_run(command, lnext(roles, lc) == NULL);
		session_unpin(nest);
	}
}

/*
 * Lets a foreign server or user mapping that exists on this node stay as it is: this node uses it
 * to connect to others (base/dsn.c).
 */
static void
keep_server(Node *statement)
{
	if (IsA(statement, CreateForeignServerStmt))
		((CreateForeignServerStmt *) statement)->if_not_exists = true;
	else
		castNode(CreateUserMappingStmt, statement)->if_not_exists = true;
}

/* Returns true for a statement that restore_guard_adapt() changes. */
static bool
is_adapted(Node *statement)
{
	return IsA(statement, AlterTableStmt) || IsA(statement, CreateSchemaStmt) ||
		IsA(statement, CreateForeignServerStmt) || IsA(statement, CreateUserMappingStmt);
}

/* Changes a copy of the command's statement to what is done instead. */
static void
restore_guard_adapt(UtilityCommand *command)
{
	Node	   *statement = command->pstmt->utilityStmt;

	if (!is_adapted(statement))
		return;
	command->pstmt = copyObject(command->pstmt);
	command->read_only_tree = false;
	statement = command->pstmt->utilityStmt;
	if (IsA(statement, AlterTableStmt))
	{
		restore_guard_trust((AlterTableStmt *) statement);
		forget_attribute_versions((AlterTableStmt *) statement);
	}
	else if (IsA(statement, CreateSchemaStmt))
		/* an empty schema of that name may exist here already */
		((CreateSchemaStmt *) statement)->if_not_exists = true;
	else
		keep_server(statement);
}

/* Runs a command of a schema that is restored. */
static void
run_restoring(const UtilityCommand *command)
{
	UtilityCommand adapted = *command;
	Node	   *statement;
	List	   *roles = NIL;
	int			nest = 0;

	restore_guard_adapt(&adapted);
	statement = adapted.pstmt->utilityStmt;
	if (command->context != PROCESS_UTILITY_SUBCOMMAND)
	{
		roles = owners_of_code(statement);
		/* settings that code in the statement makes end with the statement */
		if (!IsA(statement, VariableSetStmt) && !IsA(statement, TransactionStmt))
			nest = NewGUCNestLevel();
	}
	if (roles == NIL)
		utility_next(&adapted);
	else
		run_under_paths(&adapted, roles);
	session_unpin(nest);
}

/* Hook function for commands. */
void
restore_guard_command(const UtilityCommand *command)
{
	if (restoring)
		run_restoring(command);
	else
		utility_next(command);
}

bool
schema_is_being_restored(void)
{
	return restoring;
}

void
restore_guard_install(void)
{
	DefineCustomBoolVariable(
		RESTORING_SCHEMA,
		"Has foreign keys made without a look at the rows that are there, and functions find names as their owners do.",
		"Set by the process that restores the schema of a joining node.", &restoring, false,
		PGC_SUSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, NULL, NULL);
}
