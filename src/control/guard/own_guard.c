/*
 * own_guard.c
 *		Protects the extension's own objects from changes while the database is in a group.
 *
 * The workers of this node, and those of other nodes that call functions here, depend on each of
 * these objects: tables with their columns, indexes, constraints and triggers, functions, views,
 * types, event triggers, and the schema itself. PostgreSQL keeps away users that do not own them.
 * For a superuser, this file raises an error.
 *
 * There are two hooks. The hook for objects sees every way of creating, changing or dropping an
 * object, including cascades, DROP OWNED and REASSIGN OWNED. But it sees them only after the
 * command has locked the object, so that a worker may meet the command in a deadlock, and it misses
 * some changes of tables. Therefore the hook for commands first checks commands that name a
 * relation.
 *
 * An own object is one in the extension's schema, one that belongs to a relation there, or an event
 * trigger that calls a function there. The extension's own scripts may change these objects, and so
 * may a session with allow_system_table_mods. Every session may do what PostgreSQL itself does when
 * it rewrites a table (VACUUM FULL, CLUSTER, REINDEX CONCURRENTLY), and changes on which nothing
 * depends.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/guard/own_guard.h"

/* How a catalog names the holder of an object: a schema, a relation, or a function. */
typedef struct Kind
{
	Oid			class;
	Oid			oid_index;
	AttrNumber	oid;
	AttrNumber	holder;
	Oid			holder_class;
} Kind;

static const Kind kinds[] = {
	{RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, Anum_pg_class_relnamespace,
	 NamespaceRelationId},
	{ProcedureRelationId, ProcedureOidIndexId, Anum_pg_proc_oid, Anum_pg_proc_pronamespace,
	 NamespaceRelationId},
	{TypeRelationId, TypeOidIndexId, Anum_pg_type_oid, Anum_pg_type_typnamespace,
	 NamespaceRelationId},
	{OperatorRelationId, OperatorOidIndexId, Anum_pg_operator_oid, Anum_pg_operator_oprnamespace,
	 NamespaceRelationId},
	{StatisticExtRelationId, StatisticExtOidIndexId, Anum_pg_statistic_ext_oid,
	 Anum_pg_statistic_ext_stxnamespace, NamespaceRelationId},
	{ConstraintRelationId, ConstraintOidIndexId, Anum_pg_constraint_oid,
	 Anum_pg_constraint_connamespace, NamespaceRelationId},
	{TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, Anum_pg_trigger_tgrelid,
	 RelationRelationId},
	{RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, Anum_pg_rewrite_ev_class,
	 RelationRelationId},
	{PolicyRelationId, PolicyOidIndexId, Anum_pg_policy_oid, Anum_pg_policy_polrelid,
	 RelationRelationId},
	{AttrDefaultRelationId, AttrDefaultOidIndexId, Anum_pg_attrdef_oid, Anum_pg_attrdef_adrelid,
	 RelationRelationId},
	{EventTriggerRelationId, EventTriggerOidIndexId, Anum_pg_event_trigger_oid,
	 Anum_pg_event_trigger_evtfoid, ProcedureRelationId},
};

/* The current command changes nothing on which the extension depends. */
static bool harmless = false;

/* ---------- own objects ---------- */

/*
 * Returns true if the extension does not exist here, or if this session may change its objects.
 * This is cheap, since it is called for every object that a session creates or drops.
 */
static bool
own_guard_is_free(void)
{
	if (!IsTransactionState() || !OidIsValid(MyDatabaseId) || IsBinaryUpgrade ||
		allowSystemTableMods || !OidIsValid(extension_schema_oid()))
		return true;
	return creating_extension && CurrentExtensionObject == get_extension_oid(EXTENSION_NAME, true);
}

/* Returns true if this database is in a group. */
static bool
own_guard_is_in_group(void)
{
	return extension_exists() && nodes_local_id() != INVALID_NODE_ID;
}

/*
 * Returns true for a relation in the extension's schema. An invalid index, which REINDEX
 * CONCURRENTLY has left behind, does not count.
 */
static bool
is_own_relation(Oid relid)
{
	HeapTuple	index;
	bool		valid = true;

	if (!OidIsValid(relid) || get_rel_namespace(relid) != extension_schema_oid())
		return false;
	index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relid));
	if (HeapTupleIsValid(index))
	{
		valid = ((Form_pg_index) GETSTRUCT(index))->indisvalid;
		ReleaseSysCache(index);
	}
	return valid;
}

/*
 * Returns a column of an object's catalog row that is never null, or 0 if there is no such row.
 * With a NULL snapshot, the row is read as it was before the command.
 */
static Datum
read_catalog(const Kind *kind, Oid object, AttrNumber column, Snapshot snapshot)
{
	Relation	catalog = table_open(kind->class, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;
	Datum		value = 0;

	ScanKeyInit(&key, kind->oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(catalog, kind->oid_index, true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		value = heap_getattr(tuple, column, RelationGetDescr(catalog), &isnull);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return value;
}

/* Returns true if the holder of an object belongs to the extension. */
static bool
own_guard_is_held(const Kind *kind, Oid object, Snapshot snapshot)
{
	Oid			holder = DatumGetObjectId(read_catalog(kind, object, kind->holder, snapshot));

	if (!OidIsValid(holder))
		return false;
	if (kind->class == RelationRelationId && snapshot == NULL)
		return is_own_relation(object);
	if (kind->holder_class == RelationRelationId)
		return is_own_relation(holder);
	return (kind->holder_class == ProcedureRelationId ? get_func_namespace(holder) : holder) ==
		   extension_schema_oid();
}

/* Returns the entry of a catalog, or NULL if the extension has no objects in it. */
static const Kind *
find_kind(Oid class)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].class == class)
			return &kinds[i];
	}
	return NULL;
}

/* ---------- refused changes ---------- */

/* Raises the error for a refused change. */
static void
own_guard_refuse(const char *verb, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot %s %s of extension \"%s\" while this database is a node of a replication group", verb, what, EXTENSION_NAME),
			 errhint("Nothing would work any more. SELECT replication_plugin.leave_group() takes the node out.")));
}

/* Returns the name of an object for a message, or that of its holder. */
static const char *
own_guard_describe(const Kind *kind, Oid object, int subid)
{
	ObjectAddress address = {kind->class, object, subid};
	char	   *description = getObjectDescription(&address, true);

	if (description)
		return description;
	address.classId = kind->holder_class;
	address.objectId = DatumGetObjectId(read_catalog(kind, object, kind->holder, SnapshotSelf));
	address.objectSubId = 0;
	description = getObjectDescription(&address, true);
	return description ? description : "something";
}

/* Returns true for what PostgreSQL does internally. */
static bool
is_internal(ObjectAccessType access, const Kind *kind, Oid object, void *arg)
{
	char		relkind;

	if (access == OAT_DROP)
		return arg && (((ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_INTERNAL) != 0;
	if (access == OAT_POST_ALTER)
		return arg && ((ObjectAccessPostAlter *) arg)->is_internal;

	/*
	 * The tables that VACUUM FULL creates have types. The indexes that REINDEX CONCURRENTLY creates
	 * are not marked internal.
	 */
	if (kind->class == TypeRelationId)
		return true;
	if (kind->class != RelationRelationId)
		return false;
	if (arg && ((ObjectAccessPostCreate *) arg)->is_internal)
		return true;
	relkind = DatumGetChar(read_catalog(kind, object, Anum_pg_class_relkind, SnapshotSelf));
	return relkind == RELKIND_INDEX;
}

/* Hook function for objects. */
void
own_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	const Kind *kind;

	Assert(access == OAT_DROP || access == OAT_POST_ALTER || access == OAT_POST_CREATE);
	if (harmless || own_guard_is_free())
		return;
	if (class == NamespaceRelationId && access != OAT_POST_CREATE &&
		object == extension_schema_oid() && own_guard_is_in_group())
		own_guard_refuse(access == OAT_DROP ? "drop" : "change", "the schema");
	if (class == InheritsRelationId && arg &&
		is_own_relation(((ObjectAccessPostAlter *) arg)->auxiliary_id) && own_guard_is_in_group())
		own_guard_refuse("change",
			   psprintf("\"%s\"", get_rel_name(((ObjectAccessPostAlter *) arg)->auxiliary_id)));
	kind = find_kind(class);
	if (!kind || is_internal(access, kind, object, arg))
		return;
	if ((own_guard_is_held(kind, object, NULL) ||
		 (access != OAT_DROP && own_guard_is_held(kind, object, SnapshotSelf))) &&
		own_guard_is_in_group())
		own_guard_refuse(access == OAT_DROP ? "drop" : "change",
						 own_guard_describe(kind, object, subid));
}

/* ---------- commands ---------- */

/*
 * Returns the relation that a command changes, or on which it creates an object; NULL if it names
 * none.
 */
static RangeVar *
changed_relation(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			return ((AlterTableStmt *) stmt)->relation;
		case T_RenameStmt:
			return ((RenameStmt *) stmt)->relation;
		case T_AlterObjectSchemaStmt:
			return ((AlterObjectSchemaStmt *) stmt)->relation;
		case T_AlterObjectDependsStmt:
			return ((AlterObjectDependsStmt *) stmt)->relation;
		case T_AlterSeqStmt:
			return ((AlterSeqStmt *) stmt)->sequence;
		case T_ViewStmt:
			return ((ViewStmt *) stmt)->view;
		case T_IndexStmt:
			return ((IndexStmt *) stmt)->relation;
		case T_CreateTrigStmt:
			return ((CreateTrigStmt *) stmt)->relation;
		case T_RuleStmt:
			return ((RuleStmt *) stmt)->relation;
		case T_CreatePolicyStmt:
			return ((CreatePolicyStmt *) stmt)->table;
		case T_AlterPolicyStmt:
			return ((AlterPolicyStmt *) stmt)->table;
		default:
			return NULL;
	}
}

/*
 * Raises an error if a relation belongs to the extension. PostgreSQL itself refuses users that do
 * not own it, and the schema of a temporary relation.
 */
static void
check_relation(RangeVar *name, const char *verb)
{
	Oid			relid;

	if (name->relpersistence == RELPERSISTENCE_TEMP)
		return;
	relid = RangeVarGetRelid(name, NoLock, true);
	if (is_own_relation(relid) && pg_class_ownercheck(relid, GetUserId()) &&
		own_guard_is_in_group())
		own_guard_refuse(verb, psprintf("\"%s\"", get_rel_name(relid)));
}

/* Checks DROP of relations and of objects that belong to one. */
static void
own_guard_check_drop(DropStmt *stmt)
{
	ObjectType	type = stmt->removeType;
	bool		part = type == OBJECT_TRIGGER || type == OBJECT_RULE || type == OBJECT_POLICY;
	ListCell   *lc;

	if (!part && type != OBJECT_TABLE && type != OBJECT_INDEX && type != OBJECT_VIEW &&
		type != OBJECT_SEQUENCE && type != OBJECT_MATVIEW)
		return;
	foreach(lc, stmt->objects)
	{
		List	   *names = list_copy(lfirst(lc));

		if (part)
			names = list_truncate(names, list_length(names) - 1);
		if (names != NIL)
			check_relation(makeRangeVarFromNameList(names), part ? "change" : "drop");
	}
}

/*
 * Returns true if an option of the relation may be changed: not for a view, and not
 * user_catalog_table, on which logical decoding depends.
 */
static bool
is_harmless_option(AlterTableStmt *stmt, AlterTableCmd *cmd)
{
	ListCell   *lc;

	if (stmt->objtype == OBJECT_VIEW)
		return false;
	foreach(lc, (List *) cmd->def)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "user_catalog_table") == 0)
			return false;
	}
	return true;
}

/* Returns true if the new owner can do everything that the old one could. */
static bool
is_harmless_owner(RoleSpec *owner)
{
	Oid			role = get_rolespec_oid(owner, true);

	return OidIsValid(role) && superuser_arg(role);
}

/* Returns true if an ALTER TABLE changes nothing on which the extension depends. */
static bool
is_harmless_alter(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);

		switch (cmd->subtype)
		{
			case AT_SetRelOptions:
			case AT_ResetRelOptions:
				if (!is_harmless_option(stmt, cmd))
					return false;
				break;
			case AT_ChangeOwner:
				if (!is_harmless_owner(cmd->newowner))
					return false;
				break;
			case AT_SetStatistics:
			case AT_SetOptions:
			case AT_ResetOptions:
			case AT_SetStorage:
			case AT_SetCompression:
			case AT_SetTableSpace:
			case AT_ClusterOn:
			case AT_DropCluster:
				break;
			default:
				return false;
		}
	}
	return true;
}

/* Returns true if a command changes nothing on which the extension depends. */
static bool
own_guard_is_harmless(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			return is_harmless_alter((AlterTableStmt *) stmt);
		case T_AlterTableMoveAllStmt:
			return true;
		case T_AlterEventTrigStmt:
			return ((AlterEventTrigStmt *) stmt)->tgenabled == TRIGGER_FIRES_ALWAYS;
		case T_AlterOwnerStmt:
			return is_harmless_owner(((AlterOwnerStmt *) stmt)->newowner);
		case T_ReassignOwnedStmt:
			return is_harmless_owner(((ReassignOwnedStmt *) stmt)->newrole);
		default:
			return false;
	}
}

/* Checks a command. */
static void
own_guard_check_command(Node *stmt)
{
	RangeVar   *relation = changed_relation(stmt);

	if (relation && !own_guard_is_free())
		check_relation(relation, "change");
	else if (IsA(stmt, DropStmt) && !own_guard_is_free())
		own_guard_check_drop((DropStmt *) stmt);
	else if (IsA(stmt, AlterExtensionContentsStmt) &&
			 strcmp(((AlterExtensionContentsStmt *) stmt)->extname, EXTENSION_NAME) == 0 &&
			 superuser() && !own_guard_is_free() && own_guard_is_in_group())
		own_guard_refuse("change", "what belongs to it");
}

/* Hook function for commands. */
void
own_guard_command(const UtilityCommand *command)
{
	bool		outer = harmless;

	if (!own_guard_is_harmless(command->pstmt->utilityStmt))
	{
		own_guard_check_command(command->pstmt->utilityStmt);
		utility_next(command);
		return;
	}
	harmless = true;
	PG_TRY();
	{
		utility_next(command);
	}
	PG_FINALLY();
	{
		Assert(harmless);		/* nested commands have restored it */
		harmless = outer;
	}
	PG_END_TRY();
}
