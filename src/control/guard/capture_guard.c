/*
 * capture_guard.c
 *		Keeps the triggers that capture writes in force.
 *
 * After DDL, the event trigger of capture/capture_ddl.c gives tables what they need, and enables
 * disabled triggers again, before another command can write. This file covers the rest:
 *
 * - Commands that would remove the triggers, or the event trigger itself, are refused.
 * - The right of other nodes to read replicated tables is restored after a command that revokes it.
 * - Tables that lose an index by any command (also by a cascade), and those of a schema that is
 *   renamed, are checked after the command.
 * - If a session changes the catalogs of triggers directly, the triggers of those tables are
 *   restored before the next command of that transaction that could write, at the latest before it
 *   commits. All relation caches are invalidated, as PostgreSQL does not do that for such changes:
 *   otherwise each session would see them at a different time.
 *
 * Writes that still bypass capture (by code that writes to tables without triggers) are noticed in
 * decoding: output/capture_check.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "capture/capture.h"
#include "capture/peer_rights.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/guard/capture_guard.h"

/* What the current command does to tables beyond those that it names; on the stack of the hook. */
typedef struct Touched
{
	List	   *relids;			/* tables that lost an index */
	MemoryContext context;
} Touched;

static Touched *touched = NULL;

/*
 * Set if this transaction has changed catalogs of triggers directly since they were last restored.
 */
static bool tampered = false;

/* Returns true if this database is in a group. */
static bool
capture_guard_is_in_group(void)
{
	return IsTransactionState() && OidIsValid(MyDatabaseId) && extension_exists() &&
		nodes_local_id() != INVALID_NODE_ID;
}

/* ---------- refused commands ---------- */

/* Returns true if a table has a trigger of that name that belongs to the extension. */
static bool
is_own_trigger(RangeVar *table, const char *name)
{
	Oid			relid = RangeVarGetRelid(table, NoLock, true);
	Oid			trigger = OidIsValid(relid) ? get_trigger_oid(relid, name, true) : InvalidOid;

	return OidIsValid(trigger) && capture_is_own_trigger(trigger);
}

/* Raises an error if a command would remove a trigger of the extension. */
static void
check_trigger(RangeVar *table, const char *name, const char *what)
{
	if (!is_own_trigger(table, name) || !capture_guard_is_in_group())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot %s trigger \"%s\": by it the writes of table \"%s\" reach the other nodes", what, name, table->relname),
			 errhint("SELECT replication_plugin.exclude_table('%s') takes the table out of replication, and the trigger away.",
					 table->schemaname ? quote_qualified_identifier(table->schemaname, table->relname) : quote_identifier(table->relname))));
}

/* Checks DROP TRIGGER. */
static void
capture_guard_check_drop(DropStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		List	   *names = lfirst(lc);
		List	   *table = list_truncate(list_copy(names), list_length(names) - 1);

		if (table != NIL)
			check_trigger(makeRangeVarFromNameList(table), strVal(llast(names)), "drop");
	}
}

/* Raises an error if the extension's event trigger would no longer be enabled always. */
static void
check_event_trigger(AlterEventTrigStmt *stmt)
{
	HeapTuple	tuple;
	bool		ours;

	if (stmt->tgenabled == TRIGGER_FIRES_ALWAYS)
		return;
	tuple = SearchSysCache1(EVENTTRIGGERNAME, CStringGetDatum(stmt->trigname));
	if (!HeapTupleIsValid(tuple))
		return;
	ours = capture_is_ddl_function(((Form_pg_event_trigger) GETSTRUCT(tuple))->evtfoid);
	ReleaseSysCache(tuple);
	if (ours)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("event trigger \"%s\" must stay enabled always: by it new tables are replicated", stmt->trigname)));
}

/* Raises an error for commands against the extension's triggers. */
static void
capture_guard_check_command(Node *stmt)
{
	if (IsA(stmt, DropStmt) && ((DropStmt *) stmt)->removeType == OBJECT_TRIGGER)
		capture_guard_check_drop((DropStmt *) stmt);
	else if (IsA(stmt, AlterObjectDependsStmt) &&
			 ((AlterObjectDependsStmt *) stmt)->objectType == OBJECT_TRIGGER)
		check_trigger(((AlterObjectDependsStmt *) stmt)->relation,
					  strVal(linitial(castNode(List, ((AlterObjectDependsStmt *) stmt)->object))),
					  "change");
	else if (IsA(stmt, AlterEventTrigStmt))
		check_event_trigger((AlterEventTrigStmt *) stmt);
}

/* ---------- effects of a command ---------- */

/* Hook function for objects: notes the table of an index that is dropped. */
void
capture_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Oid			relid;
	char		kind;
	MemoryContext old;

	Assert(access == OAT_DROP);
	if (class != RelationRelationId || subid != 0 || !touched)
		return;
	kind = get_rel_relkind(object);
	if (kind != RELKIND_INDEX && kind != RELKIND_PARTITIONED_INDEX)
		return;
	relid = IndexGetRelation(object, true);
	old = MemoryContextSwitchTo(touched->context);
	if (OidIsValid(relid))
		touched->relids = list_append_unique_oid(touched->relids, relid);
	MemoryContextSwitchTo(old);
}

/* Checks all tables of a renamed schema, since exclusions are by name. */
static void
look_at_schema(Oid nspoid)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	List	   *relids = NIL;
	ListCell   *lc;

	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nspoid));
	scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		relids = lappend_oid(relids, ((Form_pg_class) GETSTRUCT(tuple))->oid);
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	foreach(lc, relids)
		capture_install(lfirst_oid(lc));
}

/*
 * Returns true for commands that can revoke rights on tables or schemas from the role of other
 * nodes.
 */
static bool
takes_rights(Node *stmt)
{
	GrantStmt  *g = (GrantStmt *) stmt;

	if (!IsA(stmt, GrantStmt))
		return IsA(stmt, DropOwnedStmt) || IsA(stmt, ReassignOwnedStmt);
	return !g->is_grant && (g->objtype == OBJECT_TABLE || g->objtype == OBJECT_SCHEMA);
}

/* Restores the rights that such a command has revoked. */
static void
give_rights_back(Node *stmt)
{
	ListCell   *lc;

	if (!IsA(stmt, GrantStmt) || ((GrantStmt *) stmt)->objtype != OBJECT_TABLE ||
		((GrantStmt *) stmt)->targtype != ACL_TARGET_OBJECT)
	{
		peer_rights_sync_changed();
		return;
	}
	foreach(lc, ((GrantStmt *) stmt)->objects)
	{
		Oid			relid = RangeVarGetRelid(lfirst(lc), NoLock, true);

		if (OidIsValid(relid))
			peer_rights_sync(relid);
	}
}

/* Gives the tables that a command has touched what they need now. */
static void
look_after(Node *stmt, List *relids)
{
	bool schema = IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType == OBJECT_SCHEMA;
	ListCell   *lc;

	if ((relids == NIL && !schema && !takes_rights(stmt)) || !capture_guard_is_in_group())
		return;
	CommandCounterIncrement();
	foreach(lc, relids)
		capture_install(lfirst_oid(lc));
	if (schema)
		look_at_schema(get_namespace_oid(((RenameStmt *) stmt)->newname, true));
	if (takes_rights(stmt))
		give_rights_back(stmt);
}

/* ---------- directly changed catalogs ---------- */

/* Enables the extension's event trigger always, if it is not. */
static void
mend_event_trigger(void)
{
	Relation	catalog = table_open(EventTriggerRelationId, RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		HeapTuple	copy;

		if (((Form_pg_event_trigger) GETSTRUCT(tuple))->evtenabled == TRIGGER_FIRES_ALWAYS ||
			!capture_is_ddl_function(((Form_pg_event_trigger) GETSTRUCT(tuple))->evtfoid))
			continue;
		copy = heap_copytuple(tuple);
		((Form_pg_event_trigger) GETSTRUCT(copy))->evtenabled = TRIGGER_FIRES_ALWAYS;
		CatalogTupleUpdate(catalog, &copy->t_self, copy);
	}
	systable_endscan(scan);
	table_close(catalog, NoLock);
}

/*
 * Invalidates all relation caches, and gives the tables that this transaction has changed the
 * triggers that they need.
 */
static void
capture_guard_mend(void)
{
	bool		pushed = false;

	tampered = false;
	if (!capture_guard_is_in_group())
		return;
	if (!ActiveSnapshotSet())
	{
		/* before a commit there is none, but reading a table needs one */
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	CommandCounterIncrement();

	/*
	 * The invalidation needs a command of its own: in the same command PostgreSQL would not record
	 * changes of single relations, and it skips relations that this transaction has created.
	 */
	CacheInvalidateRelcacheAll();
	(void) GetCurrentCommandId(true);	/* otherwise the command would not end here */
	CommandCounterIncrement();
	mend_event_trigger();
	CommandCounterIncrement();
	capture_install_changed();
	if (pushed)
		PopActiveSnapshot();
}

/* Returns true for the catalogs that determine which triggers fire. */
static bool
decides_triggers(Oid relid)
{
	return relid == TriggerRelationId || relid == EventTriggerRelationId ||
		   relid == RelationRelationId;
}

/* Hook function for permissions, which statements and COPY call. */
void
capture_guard_perms(List *range_table, List *permissions)
{
	ListCell   *lc;
	bool		tampers = false;

	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind != RTE_RELATION ||
			(required_permissions(rte, permissions) & (ACL_INSERT | ACL_UPDATE | ACL_DELETE)) == 0)
			continue;
		if (decides_triggers(rte->relid))
			tampers = true;
		else if (tampered)
			capture_guard_mend();
	}
	if (tampers && capture_guard_is_in_group())
		tampered = true;
}

/* Restores the triggers before the end of a transaction that has changed their catalogs. */
static void
capture_guard_at_transaction_event(XactEvent event, void *arg)
{
	if (!tampered)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		capture_guard_mend();
	else if (event == XACT_EVENT_ABORT)
		tampered = false;
}

/* ---------- the hook for commands ---------- */

void
capture_guard_command(const UtilityCommand *command)
{
	Touched		mine = {.context = CurrentMemoryContext};
	Touched    *outer = touched;
	Node	   *stmt = command->pstmt->utilityStmt;

	capture_guard_check_command(stmt);
	if (tampered && !IsA(stmt, TransactionStmt))
		capture_guard_mend();
	if (GetCommandLogLevel(stmt) != LOGSTMT_DDL)
	{
		utility_next(command);
		return;
	}
	touched = &mine;
	PG_TRY();
	{
		utility_next(command);
	}
	PG_FINALLY();
	{
		Assert(touched == &mine);	/* nested commands have restored it */
		touched = outer;
	}
	PG_END_TRY();
	look_after(stmt, mine.relids);
}

void
capture_guard_install(void)
{
	RegisterXactCallback(capture_guard_at_transaction_event, NULL);
}
