/*
 * template_guard.c
 *		Ends the extension's processes in a member's database that is copied.
 *
 * CREATE DATABASE ... TEMPLATE fails while any other session is connected to the template, and the
 * workers, and the walsenders of other members' links, always are. Therefore they are ended first,
 * under the lock that CREATE DATABASE takes, which keeps new connections waiting until the copy is
 * made. Then the launcher and the other members start them again. The copy is not a member: its dsn
 * leads to another database, and forget_group() makes it a database of its own.
 *
 * These processes of that database are ended: the extension's workers, and sessions and walsenders
 * whose application_name shows that they belong to other members. This is done only for users who
 * may make the copy: the database's owner, and superusers.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/backend_status.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "control/guard/template_guard.h"
#include "shared/manager_status.h"

/*
 * Returns the member's database that a statement copies, or InvalidOid if it copies none or its
 * user may not copy it.
 */
static Oid
copied_member(Node *statement)
{
	ListCell   *lc;
	Oid			dboid = InvalidOid;
	ManagerStatus m;

	if (!IsA(statement, CreatedbStmt))
		return InvalidOid;
	foreach(lc, ((CreatedbStmt *) statement)->options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "template") == 0 && option->arg)
			dboid = get_database_oid(defGetString(option), true);
	}
	if (!OidIsValid(dboid) || !manager_status_find(dboid, &m) || !m.in_group)
		return InvalidOid;
	return superuser() || pg_database_ownercheck(dboid, GetUserId()) ? dboid : InvalidOid;
}

/*
 * Returns true for a worker of the extension, or a session of another member. A worker is known by
 * its type here, since PostgreSQL does not tell the library of another process.
 */
static bool
is_of_group(const PgBackendStatus *b)
{
	if (b->st_backendType == B_BG_WORKER)
	{
		const char *type = GetBackgroundWorkerTypeByPid(b->st_procpid);

		return type && strncmp(type, PLUGIN_NAME " ", strlen(PLUGIN_NAME) + 1) == 0;
	}
	return (b->st_backendType == B_WAL_SENDER || b->st_backendType == B_BACKEND) && b->st_appname &&
		strncmp(b->st_appname, PLUGIN_NAME " ", strlen(PLUGIN_NAME) + 1) == 0;
}

/* Ends the processes of the group in a database. */
static void
end_processes(Oid dboid)
{
	int			n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n; i++)
	{
		LocalPgBackendStatus *local = backend_state(i);

		if (local && local->backendStatus.st_databaseid == dboid &&
			local->backendStatus.st_procpid != MyProcPid && is_of_group(&local->backendStatus))
			(void) kill(local->backendStatus.st_procpid, SIGTERM);
	}
}

/* Hook function for commands. */
void
template_guard_command(const UtilityCommand *command)
{
	bool		toplevel = command->context == PROCESS_UTILITY_TOPLEVEL;
	Oid			dboid = toplevel ? copied_member(command->pstmt->utilityStmt) : InvalidOid;

	if (OidIsValid(dboid))
	{
		/* as CREATE DATABASE does: no session can connect from here on */
		LockSharedObject(DatabaseRelationId, dboid, 0, ShareLock);
		end_processes(dboid);
	}
	utility_next(command);
}
