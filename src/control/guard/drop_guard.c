/*
 * drop_guard.c
 *		Keeps a member of a group from being dropped without a word.
 *
 * DROP EXTENSION, by whatever way, and DROP DATABASE would leave slots, origins and
 * workers behind here, and slots on the other nodes. Both are refused while the database
 * is in a group, with what to call first.
 *
 * Two hooks: the object access hook sees every way of dropping, but only after DROP has
 * locked all that it would drop, against our workers, who may then meet it in a deadlock. So
 * the usual commands are refused before they take locks.
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

#include "capture/peer_rights.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/guard/drop_guard.h"
#include "shared/manager_status.h"

/* True if a database is known to be in a group. */
static bool
database_in_group(Oid dboid)
{
	ManagerStatus m;

	return manager_status_find(dboid, &m) && m.in_group;
}

/* Refuses. */
static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("cannot drop %s because it is a node of a replication group", what),
			 errhint("Call SELECT replication_plugin.leave_group() in it first.")));
}

/* Refuses to drop the extension while this database is in a group. */
static void
refuse_if_member(void)
{
	if (nodes_local() != NULL)
		refuse(psprintf("extension replication_plugin in database \"%s\"", get_database_name(MyDatabaseId)));
}

/* The hook for objects. */
void
drop_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_DROP);
	if (class == DatabaseRelationId && database_in_group(object))
		refuse(psprintf("database \"%s\"", get_database_name(object)));

	/* the extension's objects go before the extension itself: so look for this one */
	if (class == RelationRelationId && subid == 0 && object == extension_relation_oid(TABLE_LOCAL_NODE))
		refuse_if_member();
}

/* True for DROP EXTENSION and DROP SCHEMA that name ours. */
static bool
drops_extension(Node *statement)
{
	DropStmt   *drop = (DropStmt *) statement;
	ListCell   *lc;

	if (!IsA(statement, DropStmt))
		return false;
	foreach(lc, drop->objects)
	{
		if ((drop->removeType == OBJECT_EXTENSION && strcmp(strVal(lfirst(lc)), EXTENSION_NAME) == 0) ||
			(drop->removeType == OBJECT_SCHEMA && strcmp(strVal(lfirst(lc)), EXTENSION_SCHEMA) == 0))
			return true;
	}
	return false;
}

/* Workers may be in a last look at our tables: lets them end (extension_lock()). DROP EXTENSION does the same; DROP SCHEMA does not. Then takes back what users'
 * tables gave other nodes. */
static void
clear_up(void)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);

	if (!OidIsValid(extension) || !pg_extension_ownercheck(extension, GetUserId()))
		return;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock);
	/* those of a member go when it leaves; a dump may have brought others along */
	peer_rights_remove_all();
}

/* The hook for commands. */
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
