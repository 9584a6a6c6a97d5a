/*
 * drop_guard.c
 *		Refuses to drop a member of a group.
 *
 * DROP EXTENSION, by any way, and DROP DATABASE would leave slots, origins and workers behind on
 * this server, and slots on the other nodes. Both are refused while the database is in a group; the
 * error names what to call first.
 *
 * There are two hooks. The hook for objects sees every way of dropping, but only after DROP has
 * locked everything that it would drop, so that a worker may meet it in a deadlock. Therefore the
 * usual commands are refused before they take locks.
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"

#include "base/compat.h"
#include "capture/peer_rights.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/guard/drop_guard.h"
#include "shared/manager_status.h"

/* Returns true if a database is known to be in a group. */
static bool
database_in_group(Oid dboid)
{
	ManagerStatus m;

	return manager_status_find(dboid, &m) && m.in_group;
}

/* Raises the error. */
static void
drop_guard_refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("cannot drop %s because it is a node of a replication group", what),
			 errhint("Call SELECT replication_plugin.leave_group() in it first.")));
}

/* Raises an error if the extension would be dropped while this database is in a group. */
static void
refuse_if_member(void)
{
	if (nodes_local() != NULL)
		drop_guard_refuse(psprintf("extension replication_plugin in database \"%s\"",
						get_database_name(MyDatabaseId)));
}

/* Hook function for objects. */
void
drop_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_DROP);
	if (class == DatabaseRelationId && database_in_group(object))
		drop_guard_refuse(psprintf("database \"%s\"", get_database_name(object)));

	/* the extension's objects are dropped before the extension itself: so check for this one */
	if (class == RelationRelationId && subid == 0 &&
		object == extension_relation_oid(TABLE_LOCAL_NODE))
		refuse_if_member();
}

/* Returns true for DROP EXTENSION and DROP SCHEMA that name this extension. */
static bool
drops_extension(Node *statement)
{
	DropStmt   *drop = (DropStmt *) statement;
	ListCell   *lc;

	if (!IsA(statement, DropStmt))
		return false;
	foreach(lc, drop->objects)
	{
		if ((drop->removeType == OBJECT_EXTENSION &&
			 strcmp(strVal(lfirst(lc)), EXTENSION_NAME) == 0) ||
			(drop->removeType == OBJECT_SCHEMA &&
			 strcmp(strVal(lfirst(lc)), EXTENSION_SCHEMA) == 0))
			return true;
	}
	return false;
}

/*
 * Waits, by a lock on the extension, until workers have finished a last look at the extension's
 * tables (extension_lock()). DROP EXTENSION takes the same lock; DROP SCHEMA does not. Then revokes
 * the rights on users' tables that other nodes were granted.
 */
static void
clear_up(void)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);

	if (!OidIsValid(extension) || !pg_extension_ownercheck(extension, GetUserId()))
		return;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock);
	/* those of a member are revoked when it leaves; a dump may have restored others */
	peer_rights_remove_all();
}

/* Hook function for commands. */
void
drop_guard_command(const UtilityCommand *command)
{
	if (drops_extension(command->pstmt->utilityStmt))
	{
		refuse_if_member();
		clear_up();
	}
	utility_next(command);
}
