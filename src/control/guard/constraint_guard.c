/*
 * constraint_guard.c
 *		Makes constraint triggers fire before the row session ends whose code has queued them.
 *
 * In a row session (catalog/as_owner.h) PostgreSQL refuses to defer a trigger, because it would
 * fire as another user: the current one when the transaction commits. So a worker, or
 * resend_table(), could not write to a table whose code writes to a table with deferred constraint
 * triggers, or defers constraints. Therefore constraints are immediate in a row session: it does
 * not defer them, and before its code writes to a table, all of them become immediate, also those
 * that are INITIALLY DEFERRED. In a user's session they stay immediate for the rest of the
 * transaction.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "nodes/parsenodes.h"

#include "base/compat.h"
#include "base/session.h"
#include "control/guard/constraint_guard.h"

/* Hook function for permissions, which is called before a statement queues trigger events. */
void
constraint_guard_perms(List *range_table, List *permissions)
{
	ListCell   *lc;

	if (!session_in_row())
		return;
	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION &&
			(required_permissions(rte, permissions) & (ACL_INSERT | ACL_UPDATE | ACL_DELETE)) != 0)
		{
			AfterTriggerSetState(makeNode(ConstraintsSetStmt));
			break;
		}
	}
}

/* Hook function for commands: SET CONSTRAINTS ... DEFERRED has no effect in a row session. */
void
constraint_guard_command(const UtilityCommand *command)
{
	const Node *stmt = command->pstmt->utilityStmt;

	if (IsA(stmt, ConstraintsSetStmt) && ((const ConstraintsSetStmt *) stmt)->deferred &&
		session_in_row())
		return;
	utility_next(command);
}
