/*
 * restore_guard.c
 *		Foreign keys of a node that is joining are taken as its source has them.
 *
 * Where rows are written on several nodes at once, a reference may be left without its row (dangling_references()). The constraint
 * stays valid for all that is written here, but would not let itself be made anew, so the node could not join. So while the schema
 * is restored, the rows that were copied are not checked; that also saves the time.
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/guc.h"

#include "control/restore_guard.h"

static bool restoring = false;
static ProcessUtility_hook_type previous_hook = NULL;

/* Has the foreign keys that a statement adds made without a look at the rows. */
static void
trust(AlterTableStmt *statement)
{
	ListCell   *lc;

	foreach(lc, statement->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Constraint *c = (Constraint *) cmd->def;

		if (cmd->subtype == AT_AddConstraint && IsA(c, Constraint) && c->contype == CONSTR_FOREIGN)
			c->skip_validation = true;	/* it still counts as valid, if it does at the source */
	}
}

/* The hook for commands. */
static void
guard(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
	  ParamListInfo params, QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	if (restoring && IsA(pstmt->utilityStmt, AlterTableStmt))
	{
		pstmt = copyObject(pstmt);
		read_only_tree = false;
		trust((AlterTableStmt *) pstmt->utilityStmt);
	}
	(previous_hook ? previous_hook : standard_ProcessUtility)
		(pstmt, query, read_only_tree, context, params, env, dest, qc);
}

void
restore_guard_install(void)
{
	DefineCustomBoolVariable(RESTORING_SCHEMA,
							 "Has foreign keys made without a look at the rows that are there.",
							 "Set by the session that restores the schema of a joining node.",
							 &restoring, false, PGC_SUSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, NULL, NULL);
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = guard;
}
