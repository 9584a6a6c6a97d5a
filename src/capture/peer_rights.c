/*
 * peer_rights.c
 *		The right of other nodes to read replicated tables: SELECT, and USAGE of their schemas,
 *		for
 *		role replication_plugin_peer.
 *
 * A joining node copies rows and locks tables as that role, and a node that lacks a value requests
 * it as that role. The rights are checked together with the capture triggers (capture_install.c),
 * and after each REVOKE (control/guard/capture_guard.c). They are grants of the table's owner. An
 * internal command makes them, which does not fire event triggers of users. If the role already has
 * a right otherwise, for example from PUBLIC, none is granted.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/event_trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "capture/peer_rights.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/own_changes.h"
#include "catalog/table_info.h"

/* Grants a right to the role, or revokes it, as the object's owner. */
static void
peer_rights_change(bool grant, ObjectType type, Node *object, const char *right)
{
	GrantStmt  *stmt = makeNode(GrantStmt);
	AccessPriv *priv = makeNode(AccessPriv);
	RoleSpec   *role = makeNode(RoleSpec);
	Oid			user;
	int			security;

	priv->priv_name = pstrdup(right);
	role->roletype = ROLESPEC_CSTRING;
	role->rolename = PEER_ROLE;
	stmt->is_grant = grant;
	stmt->targtype = ACL_TARGET_OBJECT;
	stmt->objtype = type;
	stmt->objects = list_make1(object);
	stmt->privileges = list_make1(priv);
	stmt->grantees = list_make1(role);
	stmt->behavior = DROP_CASCADE;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	EventTriggerInhibitCommandCollection();
	PG_TRY();
	{
		ExecuteGrantStmt(stmt);
	}
	PG_FINALLY();
	{
		EventTriggerUndoInhibitCommandCollection();
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
	CommandCounterIncrement();
}

/* Returns true if an access list names the role itself, with one of these rights. */
static bool
names_role(Datum list, Oid role, AclMode rights)
{
	Acl		   *acl = DatumGetAclP(list);
	AclItem    *items = ACL_DAT(acl);

	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		if (items[i].ai_grantee == role && (ACLITEM_GET_PRIVS(items[i]) & rights) != 0)
			return true;
	}
	return false;
}

/* Does the same for the access list of an object, which is that column of its row in a catalog. */
static bool
object_names_role(int cache, Oid object, AttrNumber column, Oid role, AclMode rights)
{
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object));
	bool		isnull = true;
	Datum		list =
		  HeapTupleIsValid(tuple) ? SysCacheGetAttr(cache, tuple, column, &isnull) : (Datum) 0;
	bool		result = !isnull && names_role(list, role, rights);

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

/* Returns true if a grant on a table names the role. */
static bool
table_names_role(Oid relid, Oid role)
{
	return object_names_role(RELOID, relid, Anum_pg_class_relacl, role, ACL_SELECT);
}

/* Gives the role the right to use a schema. */
static void
open_schema(Oid nspoid, Oid role)
{
	if (pg_namespace_aclcheck(nspoid, role, ACL_USAGE) == ACLCHECK_OK)
		return;
	/* other sessions may be doing the same */
	LockDatabaseObject(NamespaceRelationId, nspoid, 0, ShareUpdateExclusiveLock);
	if (get_namespace_name(nspoid) && pg_namespace_aclcheck(nspoid, role, ACL_USAGE) != ACLCHECK_OK)
		peer_rights_change(true, OBJECT_SCHEMA, (Node *) makeString(get_namespace_name(nspoid)),
						   "usage");
}

/*
 * Returns what has to be done for a table: 1 to grant, -1 to revoke, 0 for nothing. Sets *schema if
 * the role may not use the table's schema.
 */
static int
peer_rights_due(Relation rel, Oid role, bool *schema)
{
	Oid			relid = RelationGetRelid(rel);
	bool wanted = table_is_replicated(rel) && RelationGetNamespace(rel) != extension_schema_oid();

	*schema =
		wanted && pg_namespace_aclcheck(RelationGetNamespace(rel), role, ACL_USAGE) != ACLCHECK_OK;
	if (wanted)
		return pg_class_aclcheck(relid, role, ACL_SELECT) == ACLCHECK_OK ? 0 : 1;
	return RelationGetNamespace(rel) != extension_schema_oid() && table_names_role(relid, role) ? -1
																								: 0;
}

/* Updates the rights of one table, under a lock that excludes concurrent updates. */
static void
sync_one(Oid relid, Oid role)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		schema = false;
	int			what = 0;
	Oid			nspoid;

	if (!rel)
		return;
	if (rel->rd_rel->relkind == RELKIND_RELATION ||
		rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		what = peer_rights_due(rel, role, &schema);
	nspoid = RelationGetNamespace(rel);
	relation_close(rel, what || schema ? NoLock : AccessShareLock);
	if (schema)
		open_schema(nspoid, role);
	if (what == 0)
		return;
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	rel = try_relation_open(relid, NoLock);
	if (!rel)
		return;
	what = peer_rights_due(rel, role, &schema);
	relation_close(rel, NoLock);
	if (what != 0)
		peer_rights_change(what > 0, OBJECT_TABLE,
			   (Node *) makeRangeVar(get_namespace_name(get_rel_namespace(relid)),
									 get_rel_name(relid), -1),
			   "select");
}

void
peer_rights_sync(Oid relid)
{
	Oid			role = get_role_oid(PEER_ROLE, true);

	if (OidIsValid(role) && nodes_local_id() != INVALID_NODE_ID)
		sync_one(relid, role);
}

/* Returns the oids of all permanent tables of users, or of all schemas. */
static List *
all_objects(Oid catalog)
{
	Relation	rel = table_open(catalog, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class c = (Form_pg_class) GETSTRUCT(tuple);

		if (catalog == NamespaceRelationId)
			result = lappend_oid(result, ((Form_pg_namespace) GETSTRUCT(tuple))->oid);
		else if ((c->relkind == RELKIND_RELATION || c->relkind == RELKIND_PARTITIONED_TABLE) &&
				 c->relpersistence == RELPERSISTENCE_PERMANENT && c->oid >= FirstNormalObjectId &&
				 c->relnamespace != extension_schema_oid())
			result = lappend_oid(result, c->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

void
peer_rights_sync_all(void)
{
	Oid			role = get_role_oid(PEER_ROLE, true);
	ListCell   *lc;

	if (!OidIsValid(role) || nodes_local_id() == INVALID_NODE_ID)
		return;
	foreach(lc, all_objects(RelationRelationId))
		sync_one(lfirst_oid(lc), role);
}

/* Updates the rights of the tables of one schema. */
static void
sync_schema(Oid nspoid, Oid role)
{
	ListCell   *lc;

	foreach(lc, all_objects(RelationRelationId))
	{
		if (get_rel_namespace(lfirst_oid(lc)) == nspoid)
			sync_one(lfirst_oid(lc), role);
	}
}

void
peer_rights_sync_changed(void)
{
	Oid			role = get_role_oid(PEER_ROLE, true);
	ListCell   *lc;

	if (!OidIsValid(role) || nodes_local_id() == INVALID_NODE_ID)
		return;
	foreach(lc, own_changed_relations())
	{
		if (get_rel_namespace(lfirst_oid(lc)) != extension_schema_oid())
			sync_one(lfirst_oid(lc), role);
	}
	foreach(lc, own_changed_schemas())
	{
		if (SearchSysCacheExists1(NAMESPACEOID, ObjectIdGetDatum(lfirst_oid(lc))) &&
			pg_namespace_aclcheck(lfirst_oid(lc), role, ACL_USAGE) != ACLCHECK_OK)
			sync_schema(lfirst_oid(lc), role);
	}
}

/* Revokes the role's right to use a schema, if the right was granted to the role by name. */
static void
close_schema(Oid nspoid, Oid role)
{
	if (nspoid != extension_schema_oid() &&
		object_names_role(NAMESPACEOID, nspoid, Anum_pg_namespace_nspacl, role, ACL_USAGE))
		peer_rights_change(false, OBJECT_SCHEMA, (Node *) makeString(get_namespace_name(nspoid)),
						   "usage");
}

void
peer_rights_remove_all(void)
{
	Oid			role = get_role_oid(PEER_ROLE, true);
	ListCell   *lc;

	if (!OidIsValid(role))
		return;
	foreach(lc, all_objects(RelationRelationId))
	{
		Oid			relid = lfirst_oid(lc);

		if (!table_names_role(relid, role))
			continue;
		LockRelationOid(relid, ShareUpdateExclusiveLock);
		if (get_rel_name(relid) && table_names_role(relid, role))
			peer_rights_change(false, OBJECT_TABLE,
				   (Node *) makeRangeVar(get_namespace_name(get_rel_namespace(relid)),
										 get_rel_name(relid), -1),
				   "select");
	}
	foreach(lc, all_objects(NamespaceRelationId))
		close_schema(lfirst_oid(lc), role);
}
