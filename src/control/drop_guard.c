/*
 * drop_guard.c
 *		Keeps a member of a group from being dropped without a word.
 *
 * DROP EXTENSION, by whatever way, and DROP DATABASE would leave slots, origins and
 * workers behind here, and slots on the other nodes. Both are refused while the database
 * is in a group, with what to call first.
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"

#include "catalog/manager_status.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/drop_guard.h"

static object_access_hook_type previous_hook = NULL;

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

/* The hook. */
static void
guard(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	if (previous_hook)
		previous_hook(access, class, object, subid, arg);
	if (access != OAT_DROP)
		return;
	if (class == DatabaseRelationId && database_in_group(object))
		refuse(psprintf("database \"%s\"", get_database_name(object)));

	/* the extension's objects go before the extension itself: so look for this one */
	if (class == RelationRelationId && subid == 0 &&
		object == extension_relation_oid(TABLE_LOCAL_NODE) && nodes_local() != NULL)
		refuse(psprintf("extension replication_plugin in database \"%s\"", get_database_name(MyDatabaseId)));
}

void
drop_guard_install(void)
{
	previous_hook = object_access_hook;
	object_access_hook = guard;
}
