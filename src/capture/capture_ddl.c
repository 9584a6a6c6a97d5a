/*
 * capture_ddl.c
 *		After DDL: the tables that a command has touched get the triggers that they need now.
 *
 * The event trigger learns from PostgreSQL what a command created or altered. What it does not tell
 * comes from the statement (detached partitions) and from control/guard/capture_guard.c (tables
 * that lost an index, schemas with another name). No catalog is searched, so the cost does not
 * depend on how many tables there are.
 */
#include "postgres.h"

#include "access/htup_details.h"
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
#include "utils/tuplestore.h"

#include "capture/capture.h"
#include "capture/keyless.h"
#include "catalog/nodes.h"

PG_FUNCTION_INFO_V1(replication_plugin_capture_ddl);

/* Columns of pg_event_trigger_ddl_commands(). */
#define COMMANDS_CLASSID	1
#define COMMANDS_OBJID		2

/* Table that a changed relation belongs to. */
static Oid
table_of(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX)
		return IndexGetRelation(relid, true);
	return relid;
}

/* Table that a trigger is on. */
static Oid
table_of_trigger(Oid trigger)
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	HeapTuple	tuple = get_catalog_object_by_oid(pg_trigger, Anum_pg_trigger_oid, trigger);

	table_close(pg_trigger, AccessShareLock);
	return HeapTupleIsValid(tuple) ? ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid : InvalidOid;
}

/* Calls pg_event_trigger_ddl_commands(): PostgreSQL has no other way to its list. */
static Tuplestorestate *
collected_commands(ExprContext *context, TupleDesc *desc)
{
	LOCAL_FCINFO(fcinfo, 0);
	FmgrInfo	function;
	ReturnSetInfo result = {.type = T_ReturnSetInfo,.econtext = context,
		.allowedModes = SFRM_Materialize,.returnMode = SFRM_ValuePerCall
	};

	fmgr_info(F_PG_EVENT_TRIGGER_DDL_COMMANDS, &function);
	InitFunctionCallInfoData(*fcinfo, &function, 0, InvalidOid, NULL, (fmNodePtr) &result);
	(void) FunctionCallInvoke(fcinfo);
	if (result.returnMode != SFRM_Materialize || !result.setResult)
		elog(ERROR, "could not read the list of changed objects");
	*desc = result.setDesc;
	return result.setResult;
}

/* The table that one collected command is about; InvalidOid: none. */
static Oid
table_of_command(TupleTableSlot *slot)
{
	bool		isnull;
	Oid			class = DatumGetObjectId(slot_getattr(slot, COMMANDS_CLASSID, &isnull));
	Oid			object = isnull ? InvalidOid : DatumGetObjectId(slot_getattr(slot, COMMANDS_OBJID, &isnull));

	if (isnull)
		return InvalidOid;		/* GRANT and the like */
	if (class == RelationRelationId)
		return table_of(object);
	return class == TriggerRelationId ? table_of_trigger(object) : InvalidOid;
}

/* Tables that the command at hand has created or altered. */
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

/* Partitions that the command has detached: it does not list them among the changed objects. */
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
 * True for a command that changes no more than names and parameters of an index: then its table is
 * not even looked at.
 */
static bool
is_harmless(Node *stmt)
{
	if (IsA(stmt, RenameStmt))
		return ((RenameStmt *) stmt)->renameType == OBJECT_INDEX;
	if (!IsA(stmt, AlterTableStmt) || ((AlterTableStmt *) stmt)->objtype != OBJECT_INDEX)
		return false;
	return linitial_node(AlterTableCmd, ((AlterTableStmt *) stmt)->cmds)->subtype != AT_AttachPartition;
}

/* True for commands all of whose changed tables are new ones. */
static bool
is_creation(Node *stmt)
{
	return IsA(stmt, CreateStmt) || IsA(stmt, CreateTableAsStmt) || IsA(stmt, CreateSchemaStmt) || IsA(stmt, CreateExtensionStmt);
}

/*
 * capture_ddl() → event_trigger: keeps the triggers right after DDL.
 */
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
	if (nodes_local_id() == INVALID_NODE_ID || is_harmless(stmt))
		PG_RETURN_NULL();
	foreach(lc, list_concat_unique_oid(changed_tables(), detached_tables(stmt)))
	{
		keyless_log_whole_rows(lfirst_oid(lc), is_creation(stmt));
		capture_install(lfirst_oid(lc));
	}
	PG_RETURN_NULL();
}
