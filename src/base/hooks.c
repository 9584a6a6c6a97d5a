/*
 * hooks.c
 *		PostgreSQL's hooks for commands, objects and permissions, its notices of changed tables
 *		and names, and the functions of the extension that take part in them.
 *
 * The hooks for objects and permissions are called for every function and statement that a session
 * runs. So nothing is allocated here, and a taker is called only for the accesses that it names.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/hooks.h"

/* Set by hooks_install(), and constant afterwards. */
static struct
{
	HookTakers	takers;
	bool		preloaded;		/* the library was loaded at server start */
	ProcessUtility_hook_type previous_utility;	/* of other extensions; NULL: none */
	object_access_hook_type previous_access;
	ExecutorCheckPerms_hook_type previous_perms;
} hooks;

/* ---------- commands ---------- */

bool
utility_is_transaction(const UtilityCommand *command, TransactionStmtKind kind)
{
	TransactionStmt *stmt = (TransactionStmt *) command->pstmt->utilityStmt;

	return IsA(stmt, TransactionStmt) && stmt->kind == kind;
}

/*
 * Returns the first taker of a command from here on that takes part in this process; the empty
 * element at the end of the list if there is none.
 */
static const UtilityTaker *
next_taker(const UtilityTaker *t)
{
	while (t->take && t->preloaded && !hooks.preloaded)
		t++;
	return t;
}

/* Executes a command as PostgreSQL would without the extension. */
static void
hooks_run(const UtilityCommand *c)
{
	(hooks.previous_utility ? hooks.previous_utility : standard_ProcessUtility)
		(c->pstmt, c->query, c->read_only_tree, c->context, c->params, c->env, c->dest, c->qc);
}

void
utility_next(const UtilityCommand *command)
{
	const UtilityTaker *taker = next_taker(command->rest);

	Assert(IsA(command->pstmt, PlannedStmt) && command->pstmt->commandType == CMD_UTILITY);
	if (taker->take)
	{
		/* a copy, as the caller may go on with the command once more */
		UtilityCommand next = *command;

		next.rest = taker + 1;
		taker->take(&next);
	}
	else
		hooks_run(command);
}

/* Utility command hook. */
static void
utility_hook(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
			 DestReceiver *dest, QueryCompletion *qc)
{
	UtilityCommand command = {pstmt, query, read_only_tree, context, params, env, dest, qc,
	hooks.takers.utility};

	utility_next(&command);
}

/* ---------- objects ---------- */

/* Object access hook. */
static void
access_hook(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	if (hooks.previous_access)
		hooks.previous_access(access, class, object, subid, arg);
	for (const AccessTaker *t = hooks.takers.access; t->take; t++)
	{
		if ((t->types & ON_ACCESS(access)) != 0 && (hooks.preloaded || !t->preloaded))
			t->take(access, class, object, subid, arg);
	}
}

/* ---------- permissions ---------- */

/* Permission hook. The takers are not called if another extension denies the access. */
static bool
perms_hook(PERMS_HOOK_PARAMETERS)
{
	if (hooks.previous_perms && !hooks.previous_perms(PERMS_HOOK_ARGUMENTS))
		return false;
	for (const PermsTaker *take = hooks.takers.perms; *take; take++)
		(*take) (range_table, PERMS_HOOK_LIST);
	return true;
}

/* ---------- changes of tables and names ---------- */

/* Relcache callback. */
static void
hooks_table_changed(Datum arg, Oid relid)
{
	for (const TableTaker *take = hooks.takers.tables; *take; take++)
		(*take) (relid);
}

/* Syscache callback, for schemas and types. */
static void
name_changed(Datum arg, int cacheid, uint32 hash)
{
	Assert(cacheid == NAMESPACEOID || cacheid == TYPEOID);
	for (const NameTaker *take = hooks.takers.names; *take; take++)
		(*take) (hash);
}

/* ---------- all of them ---------- */

void
hooks_install(const HookTakers *takers, bool preloaded)
{
	Assert(hooks.takers.utility == NULL);
	hooks.takers = *takers;
	hooks.preloaded = preloaded;
	hooks.previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility_hook;
	hooks.previous_access = object_access_hook;
	object_access_hook = access_hook;
	hooks.previous_perms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = perms_hook;
	CacheRegisterRelcacheCallback(hooks_table_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, name_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, name_changed, (Datum) 0);
}
