/*
 * insertion_guard.c
 *		Keeps functions that are called for an index from writing in INSERT ... ON CONFLICT.
 *
 * INSERT ... ON CONFLICT writes its row, then the index entries, then the confirmation of the row.
 * The expressions and predicates of indexes that are evaluated in between should be immutable, but
 * PostgreSQL trusts the declaration of a function: an immutable function that calls a volatile one
 * may write. The transaction is valid; but logical decoding expects the confirmation next, and
 * fails to decode it ("invalid ordering of speculative insertion changes"), so this node could not
 * send anything any more. Therefore the writing statement itself fails, where its user sees the
 * error.
 *
 * There are three hooks: for permissions (statements and COPY), for commands (which write to
 * catalogs), and for objects (the functions for large objects are built in). A PL/pgSQL expression
 * with one of the latter gets past them if it was prepared earlier in the same transaction; the
 * remedy is skip_transaction().
 *
 * A process in the middle of such an insertion holds a lock of a kind that has no other use. A
 * transaction that has not written yet is not in the middle.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/guard/insertion_guard.h"

/* Returns true if this process holds the lock of a row that is inserted but not confirmed. */
static bool
holds_speculative_lock(void)
{
	bool		found = false;

	for (int i = 0; i < NUM_LOCK_PARTITIONS && !found; i++)
	{
		if (!may_hold_locks(i))
			continue;			/* others can add only locks of relations there */
		LWLockAcquire(LockHashPartitionLockByIndex(i), LW_SHARED);
		found = holds_lock_of_type(i, LOCKTAG_SPECULATIVE_TOKEN);
		LWLockRelease(LockHashPartitionLockByIndex(i));
	}
	return found;
}

/* Returns true if what is written now could not be decoded, and this database is in a group. */
static bool
is_in_insertion(void)
{
	return XLogLogicalInfoActive() && IsTransactionState() &&
		   TransactionIdIsValid(GetTopTransactionIdIfAny()) && OidIsValid(MyDatabaseId) &&
		   holds_speculative_lock() && extension_exists() && nodes_local_id() != INVALID_NODE_ID;
}

/* Raises the error. */
static void
insertion_guard_refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s in the middle of INSERT ... ON CONFLICT into another table", what),
			 errdetail("A function that is called for an index writes. Such a transaction could not be sent to the other nodes."),
			 errhint("Functions that an index calls must be immutable, and so must those that they call. A trigger may write.")));
}

/* Hook function for permissions, which statements and COPY call. */
void
insertion_guard_perms(List *range_table, List *permissions)
{
	ListCell   *lc;

	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION &&
			rte->rellockmode == RowExclusiveLock &&
			(required_permissions(rte, permissions) & (ACL_INSERT | ACL_UPDATE | ACL_DELETE)) != 0 &&
			is_in_insertion() &&
			get_rel_persistence(rte->relid) == RELPERSISTENCE_PERMANENT)
			insertion_guard_refuse(
				psprintf("cannot write to table \"%s\"", get_rel_name(rte->relid)));
	}
}

/*
 * Returns true for commands that write to no table and no catalog. The statements that they run are
 * checked when they run.
 */
static bool
is_reading(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_VariableSetStmt:
		case T_VariableShowStmt:
		case T_TransactionStmt:
		case T_DeclareCursorStmt:
		case T_FetchStmt:
		case T_ClosePortalStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_DeallocateStmt:
		case T_ExplainStmt:
		case T_CallStmt:
		case T_DoStmt:
		case T_CopyStmt:
		case T_NotifyStmt:
		case T_ListenStmt:
		case T_UnlistenStmt:
		case T_LockStmt:
		case T_ConstraintsSetStmt:
		case T_LoadStmt:
			return true;
		default:
			return false;
	}
}

/* Hook function for commands. */
void
insertion_guard_command(const UtilityCommand *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;

	if (command->context != PROCESS_UTILITY_TOPLEVEL && !is_reading(stmt) && is_in_insertion())
		insertion_guard_refuse(psprintf("cannot execute %s", CreateCommandName(stmt)));
	utility_next(command);
}

/* Returns true for functions that write large objects. */
static bool
writes_large_object(Oid function)
{
	return function == F_LOWRITE || function == F_LO_PUT || function == F_LO_TRUNCATE ||
		   function == F_LO_TRUNCATE64 || function == F_LO_UNLINK || function == F_LO_FROM_BYTEA ||
		   function == F_LO_IMPORT_TEXT || function == F_LO_IMPORT_TEXT_OID;
}

/* Hook function for objects. */
void
insertion_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_FUNCTION_EXECUTE);
	if (class == ProcedureRelationId && writes_large_object(object) && is_in_insertion())
		insertion_guard_refuse("cannot write to a large object");
}
