/*
 * constraint_guard.c
 *		Constraint triggers of what a row's code writes fire before its row session ends.
 *
 * In a row session (catalog/as_owner.h) PostgreSQL refuses to defer a trigger, as it would fire as
 * somebody else: whoever is the current user when the transaction commits. So a table whose code
 * writes to one with deferred constraint triggers, or defers constraints, could not be written to
 * by a worker, nor by resend_table(). Here they are immediate instead: a row session does not defer
 * constraints, and before its code writes to a table all of them become immediate, also those that
 * are INITIALLY DEFERRED. In a session of a user they stay so for the rest of the transaction.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "nodes/parsenodes.h"

#include "base/session.h"
#include "control/guard/constraint_guard.h"

/*
 * Takes part in the hook for permissions, which is called before a statement queues events of
 * triggers.
 */
void
constraint_guard_perms(List *range_table)
{
	ListCell   *lc;

	if (!session_in_row())
		return;
	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION && (rte->requiredPerms & (ACL_INSERT | ACL_UPDATE | ACL_DELETE)) != 0)
		{
			AfterTriggerSetState(makeNode(ConstraintsSetStmt));
			break;
		}
	}
}

/*
 * Takes part in the hook for commands: SET CONSTRAINTS ... DEFERRED does nothing in a row session.
 */
void
constraint_guard_command(const UtilityCommand *command)
{
	const Node *stmt = command->pstmt->utilityStmt;

	if (IsA(stmt, ConstraintsSetStmt) && ((const ConstraintsSetStmt *) stmt)->deferred && session_in_row())
		return;
	utility_next(command);
}
