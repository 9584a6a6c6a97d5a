/*
 * write_guard.c
 *		Refuses local writes to replicated tables on a node that is not ready.
 *
 * Writes on a node that is joining, leaving or out would reach no other node, or would be decided
 * differently from other nodes (docs/protocol.md, Join). The hook for permissions sees every
 * statement and COPY before it writes, with the tables that it reaches through an inheritance
 * parent. The hook for objects sees each table that TRUNCATE empties, also those that it does not
 * name. The extension's processes bypass these checks, and sessions that copy rows have a
 * replication origin.
 *
 * On a server that cannot replicate (shared/requirement.h), writes of any member are refused, also
 * those to the group's settings, and those under an origin that is not of the group's nodes. This
 * also works when the library is loaded without shared memory: session_preload_libraries of a
 * member's database loads it.
 *
 * After a start of the server, local writes wait until other members have told whether it was set
 * back (control/links/run_guard.c). A copy of a member takes none, as its rows could not become
 * those of a node any more.
 *
 * If the node is ready, or there is no group, the check costs a look at a cached value.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/origin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "base/moment.h"
#include "base/own_worker.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "catalog/agreement.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "catalog/waiting_table.h"
#include "control/guard/write_guard.h"
#include "shared/manager_status.h"
#include "shared/origin_map.h"
#include "shared/requirement.h"
#include "shared/wakeup.h"
#include "wire/protocol.h"

#define JUDGEMENT_MS		5000	/* beyond contact_patience: the manager has to be started first */
#define JUDGEMENT_PAUSE_MS	20

/* this session has waited for a judgement of the server's run, and need not wait again */
static bool may_write = false;

/* Returns true if this session writes as a user, in a transaction. */
static bool
is_users_session(void)
{
	return replorigin_session_origin == InvalidRepOriginId && !is_own_worker() &&
		IsTransactionState() && OidIsValid(MyDatabaseId) && !creating_extension;
}

/* Returns why writes are refused now, or NULL if they are not. */
static const char *
write_guard_refusal(void)
{
	return is_users_session() ? nodes_local_refusal() : NULL;
}

/* Returns what this server lacks if that affects what this session writes now, or NULL. */
static const Unmet *
write_guard_unmet(void)
{
	const Unmet *u = requirement_unmet();

	if (!u || !IsTransactionState() || !OidIsValid(MyDatabaseId) || creating_extension ||
		!nodes_local_in_group())
		return NULL;
	if (replorigin_session_origin == InvalidRepOriginId)
		return u;
	origin_map_ensure_loaded();
	return origin_map_node(replorigin_session_origin) == ORIGIN_NODE_LOCAL ? u : NULL;
}

/*
 * Raises an error for a write to a table of the group on a server that cannot replicate. Rows of
 * the group's own tables may be deleted, since the node may be taken out; and the extension's
 * processes may be in the middle of something.
 */
static void
refuse_unmet(Oid relid, AclMode write, const Unmet *u)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		replicated;

	if (!rel)
		return;
	if (RelationGetNamespace(rel) == extension_schema_oid())
		replicated = table_is_own_replicated(rel) && (write & (ACL_INSERT | ACL_UPDATE)) != 0 &&
					 !is_own_worker();
	else
		replicated = table_is_replicated(rel);
	RelationClose(rel);
	if (replicated)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), u->problem),
				 errhint("%s", u->fix)));
}

/* Returns true for a replicated table that is not the extension's own. */
static bool
is_users_table(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		result;

	if (!rel)
		return false;
	result = table_is_replicated(rel) && RelationGetNamespace(rel) != extension_schema_oid();
	RelationClose(rel);
	return result;
}

/* Raises the error that this library does not speak the protocol of the group. */
static void
refuse_protocol(int protocol)
{
	char	   *fix;
	char	   *problem = protocol_problem(protocol, &fix);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), problem),
			 errhint("%s", fix)));
}

/* Raises an error if a table is replicated. */
static void
write_guard_refuse(Oid relid, const char *state)
{
	if (!is_users_table(relid))
		return;
	if (strncmp(state, NODE_OTHER_VERSION, strlen(NODE_OTHER_VERSION)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is of version %s in this database, and its library of version %s",
						EXTENSION_NAME, state + strlen(NODE_OTHER_VERSION), EXTENSION_VERSION),
				 errhint("Until they agree nothing is replicated, and replicated tables cannot be written to: ALTER EXTENSION %s UPDATE.",
						 EXTENSION_NAME)));
	if (strncmp(state, NODE_OTHER_PROTOCOL, strlen(NODE_OTHER_PROTOCOL)) == 0)
		refuse_protocol(atoi(state + strlen(NODE_OTHER_PROTOCOL)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), state),
			 strncmp(state, "joining", 7) == 0 ?
			 errhint("SELECT replication_plugin.wait_until_ready() waits for it.") :
			 strcmp(state, "leaving") == 0 ? errhint("It is being removed from its group.") :
			 errhint("SELECT replication_plugin.rejoin() makes it a member again, with the rows of the others; "
					 "forget_group() makes it a database of its own.")));
}

/* Raises an error if this database is a copy of a member, and a table is replicated. */
static void
refuse_on_copy(Oid relid)
{
	if (manager_status_is_copy(MyDatabaseId) && is_users_session() &&
		nodes_local_in_group() && is_users_table(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), IS_A_COPY),
				 errhint(IS_A_COPY_HINT)));
}

/* Returns true if local writes need not wait for a judgement of this run. */
static bool
run_is_judged(void)
{
	return setting_contact_patience == 0 || !shmem_exists() ||
		   manager_status_run_judged(MyDatabaseId);
}

/* Raises an error if writes have to wait for a judgement until there is one. */
static void
end_of_wait(void)
{
	if (setting_contact_patience < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not ready for writes: no other member has told yet whether its server was restored from an old backup", nodes_local_name()),
				 errhint("See replication_plugin.links, and the setting replication_plugin.contact_patience.")));
	ereport(LOG,
			(errmsg("a local write begins, although no manager has found out whether this server was restored from an old backup")));
}

/*
 * Returns true if no manager has decided long after it should have, for a session that has waited
 * since then.
 */
static bool
judgement_is_overdue(Moment began)
{
	Moment		since = manager_status_looked_at();

	return moment_is_past(since ? since : began,
						  (int64) JUDGEMENT_MS + Max(setting_contact_patience, 0));
}

/*
 * Waits until other members have judged this run of the server (control/links/run_guard.c), or have
 * told that this node is out. The manager decides when replication_plugin.contact_patience is over;
 * if there is none, this session does. The judgement holds for the life of the session.
 */
static void
wait_for_judgement(void)
{
	Moment		began = moment_now();

	while (!run_is_judged() && !write_guard_refusal() && !manager_status_is_copy(MyDatabaseId))
	{
		if (judgement_is_overdue(began))
		{
			end_of_wait();
			break;
		}
		wakeup_pause(JUDGEMENT_PAUSE_MS);
		AcceptInvalidationMessages();
	}
}

/*
 * Returns true if this session has to know of a judgement before it writes. Whoever has just made
 * this database a member, in this transaction, need not: no manager sees that yet.
 */
static bool
has_to_wait(void)
{
	return !may_write && is_users_session() && nodes_local_in_group() && !write_guard_refusal() &&
		   nodes_local_since_xid() != U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
}

/* Raises an error for a local write to a replicated table on a node that takes none. */
static void
check_state(Oid relid)
{
	const char *state;

	if (has_to_wait())
	{
		if (!run_is_judged() && is_users_table(relid))
		{
			wait_for_judgement();
			may_write = !write_guard_refusal() && !manager_status_is_copy(MyDatabaseId);
		}
		else
			may_write = run_is_judged();
	}
	if ((state = write_guard_refusal()) != NULL)
		write_guard_refuse(relid, state);
	refuse_on_copy(relid);
}

/*
 * Raises an error for a change of a waiting table if receivers would assume that its writer had
 * seen the kept changes: changes of rows without a key, and of siblings. Other writes win or lose
 * by their versions, whenever the kept changes are applied.
 */
static void
refuse_waiting(Oid relid, AclMode write)
{
	Relation	root;
	bool		mergeable;
	bool		refused;

	if (!is_users_session() || !waiting_table_by_oid(relid))
		return;
	root = RelationIdGetRelation(table_root(relid));
	if (!root)
		return;
	mergeable = table_is_mergeable(root);
	refused = (root->rd_rel->relkind == RELKIND_RELATION ||
			   root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
			  (mergeable || (!OidIsValid(table_key_index(root)) && (write & ~ACL_INSERT) != 0));
	RelationClose(root);
	if (refused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" cannot be changed on this node now: changes of it from other nodes wait here", get_rel_name(relid)),
				 errdetail(mergeable ? "Its conflicts are resolved by what their writers had seen." : "It has no key."),
				 errhint("The view replication_plugin.waiting_tables says why they wait; when that is mended, they are applied and the table can be changed.")));
}

void
write_guard_check(Oid relid)
{
	check_state(relid);
}

/* Checks a table before it is written. */
static void
check_write(Oid relid, AclMode write)
{
	const Unmet *u;

	if ((u = write_guard_unmet()) != NULL)
		refuse_unmet(relid, write, u);
	check_state(relid);
	refuse_waiting(relid, write);
}

/*
 * Returns how a statement may write a table of its range table; 0: not at all. A table that is
 * reached through a parent has no permissions of its own there. INSERT ... ON CONFLICT has its
 * table there a second time, for the row that was proposed for insertion.
 */
static AclMode
write_of(const RangeTblEntry *rte, List *permissions)
{
	AclMode		required = required_permissions(rte, permissions);
	AclMode		write = required & (ACL_INSERT | ACL_UPDATE | ACL_DELETE);

	if (rte->rtekind != RTE_RELATION || rte->rellockmode != RowExclusiveLock)
		return 0;
	return required == 0 && rte->relkind != RELKIND_COMPOSITE_TYPE
			   ? ACL_UPDATE | ACL_DELETE
			   : write;
}

/* Hook function for permissions, which statements and COPY call. */
void
write_guard_perms(List *range_table, List *permissions)
{
	ListCell   *lc;

	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);
		AclMode		write = write_of(rte, permissions);

		if (write != 0)
			check_write(rte->relid, write);
	}
}

/* Hook function for objects: checks each table that TRUNCATE empties. */
void
write_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_TRUNCATE);
	if (class == RelationRelationId)
		check_write(object, ACL_TRUNCATE);
}

/*
 * Checks the tables named in a TRUNCATE again, now that they are locked: one may have begun to wait
 * while TRUNCATE waited for the lock.
 */
static void
check_truncated(TruncateStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, is_users_session() && waiting_tables() ? stmt->relations : NIL)
	{
		Oid			relid = RangeVarGetRelid(lfirst(lc), NoLock, true);

		if (OidIsValid(relid))
			refuse_waiting(relid, ACL_TRUNCATE);
	}
}

/*
 * Checks a COMMIT PREPARED: writes that were allowed when they were made may be refused by now, or
 * would get an invalid timestamp.
 */
static void
check_commit_prepared(void)
{
	const char *state;
	const Unmet *u = write_guard_unmet();

	if (has_to_wait())
		wait_for_judgement();
	state = write_guard_refusal();
	if (u)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), u->problem),
				 errhint("%s", u->fix)));
	if (state && (strcmp(state, "removed") == 0 || strcmp(state, "needs_rejoin") == 0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" is not ready for writes: %s", nodes_local_name(), state),
				 errhint("Nobody would get what the transaction has written: ROLLBACK PREPARED.")));
}

/* Hook function for commands. */
void
write_guard_command(const UtilityCommand *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;

	if (utility_is_transaction(command, TRANS_STMT_COMMIT_PREPARED))
		check_commit_prepared();
	utility_next(command);
	if (IsA(stmt, TruncateStmt))
		check_truncated((TruncateStmt *) stmt);
}
