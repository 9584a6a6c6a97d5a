/*
 * write_guard.c
 *		Keeps local writes away from replicated tables of a node that is not ready.
 *
 * What is written on a node that is joining, leaving or out would reach nobody, or would be
 * decided otherwise than elsewhere (PROTOCOL: Join). The hook for permissions sees every
 * statement and COPY before it writes; TRUNCATE comes by the hook for commands. Our own processes
 * write without either, and the sessions that copy rows have a replication origin.
 *
 * Where the node is ready, or there is none, this costs a look at a cached value.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/origin.h"
#include "tcop/utility.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "control/write_guard.h"

static ExecutorCheckPerms_hook_type previous_perms_hook = NULL;
static ProcessUtility_hook_type previous_utility_hook = NULL;

/* Why writes are refused now; NULL if they are not. */
static const char *
refusal(void)
{
	if (replorigin_session_origin != InvalidRepOriginId || MyBackendType == B_BG_WORKER ||
		!IsTransactionState() || !OidIsValid(MyDatabaseId) || creating_extension)
		return NULL;
	return nodes_local_refusal();
}

/* Refuses if a table is one of the replicated ones. */
static void
refuse(Oid relid, const char *state)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		replicated;

	if (!rel)
		return;
	replicated = table_is_replicated(rel) && RelationGetNamespace(rel) != extension_schema_oid();
	RelationClose(rel);
	if (!replicated)
		return;
	if (strncmp(state, NODE_OTHER_VERSION, strlen(NODE_OTHER_VERSION)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is of version %s in this database, and its library of version %s",
						EXTENSION_NAME, state + strlen(NODE_OTHER_VERSION), EXTENSION_VERSION),
				 errhint("Until they agree nothing is replicated, and replicated tables cannot be written to: ALTER EXTENSION %s UPDATE.",
						 EXTENSION_NAME)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), state),
			 strncmp(state, "joining", 7) == 0 ?
			 errhint("SELECT replication_plugin.wait_until_ready() waits for it.") :
			 strcmp(state, "leaving") == 0 ? errhint("It is being removed from its group.") :
			 errhint("SELECT replication_plugin.rejoin() makes it a member again, with the rows of the others; "
					 "forget_group() makes it a database of its own.")));
}

void
write_guard_check(Oid relid)
{
	const char *state = refusal();

	if (state)
		refuse(relid, state);
}

/* The hook for statements and COPY. */
static bool
check_perms(List *range_table, bool ereport_on_violation)
{
	const char *state;
	ListCell   *lc;

	if (previous_perms_hook && !previous_perms_hook(range_table, ereport_on_violation))
		return false;
	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION && (rte->requiredPerms & (ACL_INSERT | ACL_UPDATE | ACL_DELETE)) != 0 &&
			rte->rellockmode == RowExclusiveLock && (state = refusal()) != NULL)
			refuse(rte->relid, state);
	}
	return true;
}

/* The hook for commands: TRUNCATE, and COMMIT PREPARED of what was written when it was welcome. */
static void
check_command(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
			  ParamListInfo params, QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	const char *state;
	ListCell   *lc;

	if (IsA(pstmt->utilityStmt, TruncateStmt) && (state = refusal()) != NULL)
	{
		foreach(lc, ((TruncateStmt *) pstmt->utilityStmt)->relations)
		{
			Oid			relid = RangeVarGetRelid(lfirst(lc), NoLock, true);

			if (OidIsValid(relid))
				refuse(relid, state);
		}
	}
	if (IsA(pstmt->utilityStmt, TransactionStmt) && ((TransactionStmt *) pstmt->utilityStmt)->kind == TRANS_STMT_COMMIT_PREPARED &&
		(state = refusal()) != NULL && (strcmp(state, "removed") == 0 || strcmp(state, "needs_rejoin") == 0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), state),
				 errhint("Nobody would get what the transaction has written: ROLLBACK PREPARED.")));
	if (previous_utility_hook)
		previous_utility_hook(pstmt, query, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, env, dest, qc);
}

void
write_guard_install(void)
{
	previous_perms_hook = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = check_perms;
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = check_command;
}
