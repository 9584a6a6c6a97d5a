/*
 * capture_ddl.c
 *		After DDL, gives the tables that a command has changed the triggers that they need now.
 *
 * PostgreSQL tells the event trigger what a command has created or altered. The rest comes from the
 * statement (detached partitions) and from control/guard/capture_guard.c (tables that lost an
 * index, renamed schemas). No catalog is searched, so the cost does not depend on the number of
 * tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "capture/capture.h"
#include "capture/keyless.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"

PG_FUNCTION_INFO_V1(replication_plugin_capture_ddl);

/* Columns of pg_event_trigger_ddl_commands(). */
#define COMMANDS_CLASSID	1
#define COMMANDS_OBJID		2

/* Returns the table to which a changed relation belongs. */
static Oid
capture_ddl_table_of(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX)
		return IndexGetRelation(relid, true);
	return relid;
}

/* Returns the table of a trigger. */
static Oid
table_of_trigger(Oid trigger)
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	HeapTuple	tuple = get_catalog_object_by_oid(pg_trigger, Anum_pg_trigger_oid, trigger);

	table_close(pg_trigger, AccessShareLock);
	return HeapTupleIsValid(tuple) ? ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid : InvalidOid;
}

/* Calls pg_event_trigger_ddl_commands(), which is the only access to PostgreSQL's list. */
static Tuplestorestate *
collected_commands(ExprContext *context, TupleDesc *desc)
{
	LOCAL_FCINFO(fcinfo, 0);
	FmgrInfo	function;
	ReturnSetInfo result = {.type = T_ReturnSetInfo,.econtext = context,
		.allowedModes = SFRM_Materialize,.returnMode = SFRM_ValuePerCall
	};

	fmgr_info(F_PG_EVENT_TRIGGER_DDL_COMMANDS, &function);
	InitFunctionCallInfoData(*fcinfo, &function, 0, InvalidOid, NULL, (Node *) &result);
	(void) FunctionCallInvoke(fcinfo);
	if (result.returnMode != SFRM_Materialize || !result.setResult)
		elog(ERROR, "could not read the list of changed objects");
	*desc = result.setDesc;
	return result.setResult;
}

/* Returns the table that one collected command has changed, or InvalidOid. */
static Oid
table_of_command(TupleTableSlot *slot)
{
	bool		isnull;
	Oid			class = DatumGetObjectId(slot_getattr(slot, COMMANDS_CLASSID, &isnull));
	Oid object =
		isnull ? InvalidOid : DatumGetObjectId(slot_getattr(slot, COMMANDS_OBJID, &isnull));

	if (isnull)
		return InvalidOid;		/* GRANT and the like */
	if (class == RelationRelationId)
		return capture_ddl_table_of(object);
	return class == TriggerRelationId ? table_of_trigger(object) : InvalidOid;
}

/* Returns the tables that the current command has created or altered. */
static List *
changed_tables(void)
{
	EState	   *estate = CreateExecutorState();
	TupleDesc	desc;
	Tuplestorestate *commands = collected_commands(CreateExprContext(estate), &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	List	   *result = NIL;

	while (tuplestore_gettupleslot(commands, true, false, slot))
	{
		Oid			relid = table_of_command(slot);

		if (OidIsValid(relid))
			result = list_append_unique_oid(result, relid);
	}
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	return result;
}

/* Returns the partitions that the command has detached, which are not among its changed objects. */
static List *
detached_tables(Node *stmt)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (!IsA(stmt, AlterTableStmt))
		return NIL;
	foreach(lc, ((AlterTableStmt *) stmt)->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);
		Oid			relid;

		if (cmd->subtype != AT_DetachPartition && cmd->subtype != AT_DetachPartitionFinalize)
			continue;
		relid = RangeVarGetRelid(((PartitionCmd *) cmd->def)->name, NoLock, true);
		if (OidIsValid(relid))
			result = lappend_oid(result, relid);
	}
	return result;
}

/*
 * Returns true if a command changes only names and parameters of an index; its table is then not
 * even opened.
 */
static bool
capture_ddl_is_harmless(Node *stmt)
{
	if (IsA(stmt, RenameStmt))
		return ((RenameStmt *) stmt)->renameType == OBJECT_INDEX;
	if (!IsA(stmt, AlterTableStmt) || ((AlterTableStmt *) stmt)->objtype != OBJECT_INDEX)
		return false;
	return linitial_node(AlterTableCmd, ((AlterTableStmt *) stmt)->cmds)->subtype !=
		   AT_AttachPartition;
}

/* Returns true if all tables that a command changes are new. */
static bool
is_creation(Node *stmt)
{
	return IsA(stmt, CreateStmt) || IsA(stmt, CreateTableAsStmt) || IsA(stmt, CreateSchemaStmt) ||
		   IsA(stmt, CreateExtensionStmt);
}

/* Returns true if a table's rows are identified, or may be, by an index WITHOUT OVERLAPS. */
static bool
has_temporal_key(Relation rel)
{
	Oid			key_index = table_key_index(rel);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	bool		found = false;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		found |= index->rd_index->indisexclusion &&
				 (index->rd_index->indisprimary || lfirst_oid(lc) == key_index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/*
 * Raises an error if a mergeable table has got a key WITHOUT OVERLAPS. require_mergeable() in
 * schema/45_conflicts.sql refuses the same of a table that has such a key already.
 */
static void
refuse_temporal_key(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);

	if (!rel)
		return;
	if (rel->rd_rel->relkind == RELKIND_RELATION && table_is_replicated(rel) &&
		has_temporal_key(rel) && table_is_mergeable(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the key of table \"%s\" cannot be WITHOUT OVERLAPS: the table has a conflict policy, or columns that merge",
						RelationGetRelationName(rel)),
				 errhint("Give it another primary key, and make this one a unique constraint.")));
	relation_close(rel, AccessShareLock);
}

/* capture_ddl() → event_trigger: updates the triggers after DDL. */
Datum
replication_plugin_capture_ddl(PG_FUNCTION_ARGS)
{
	Node	   *stmt;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_ddl() is called by event triggers only")));
	stmt = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (nodes_local_id() == INVALID_NODE_ID || capture_ddl_is_harmless(stmt))
		PG_RETURN_NULL();
	foreach(lc, list_concat_unique_oid(changed_tables(), detached_tables(stmt)))
	{
		refuse_temporal_key(lfirst_oid(lc));
		keyless_log_whole_rows(lfirst_oid(lc), is_creation(stmt));
		capture_install(lfirst_oid(lc));
	}
	PG_RETURN_NULL();
}
