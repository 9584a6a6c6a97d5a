/*
 * capture_install.c
 *		Puts our internal triggers on the tables that need them, and takes them away.
 *
 * The triggers are internal ones, as those of foreign keys are: they stay out of
 * \d and pg_dump, and users cannot drop them one by one. They are installed when a
 * node is created or joins, by an event trigger after DDL, and when a table is
 * excluded or included. What a table needs follows from its key:
 *
 *	key					capture_row (AFTER DELETE; AFTER UPDATE OF key columns) and
 *						capture_truncate
 *	key, and mergeable	capture_write (AFTER INSERT, UPDATE, DELETE) and capture_truncate
 *	REPLICA IDENTITY FULL, no key		nothing: the WAL has the whole old row
 *	no key				capture_no_key
 *
 * A BEFORE UPDATE trigger of the user may change a key column that the statement
 * does not name; then capture_row must look at every update.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/origin_map.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "conflict/capture.h"
#include "conflict/keyless.h"

PG_FUNCTION_INFO_V1(replication_plugin_capture_ddl);

#define TRIGGER_NAME	"replication_plugin"

/* Our trigger functions, by what they are for. */
typedef enum CaptureKind
{
	CAPTURE_DELETE,
	CAPTURE_UPDATE,
	CAPTURE_TRUNCATE,
	CAPTURE_WRITE,
	CAPTURE_NO_KEY
} CaptureKind;

#define N_CAPTURE_KINDS (CAPTURE_NO_KEY + 1)

static const char *const function_names[N_CAPTURE_KINDS] = {
	[CAPTURE_DELETE] = "capture_row",
	[CAPTURE_UPDATE] = "capture_row",
	[CAPTURE_TRUNCATE] = "capture_truncate",
	[CAPTURE_WRITE] = "capture_write",
	[CAPTURE_NO_KEY] = "capture_no_key",
};

/* Oid of one of our trigger functions. */
static Oid
function_oid(CaptureKind kind)
{
	return LookupFuncName(list_make2(makeString(EXTENSION_SCHEMA),
									 makeString(pstrdup(function_names[kind]))),
						  0, NULL, false);
}

bool
capture_is_own_function(Oid funcoid)
{
	for (int i = 0; i < N_CAPTURE_KINDS; i++)
	{
		if (function_oid(i) == funcoid)
			return true;
	}
	return false;
}

/* True in a session that copies rows for a new node: its triggers on inserts come when they are all there. */
static bool
is_copying(void)
{
	return origin_map_node(replorigin_session_origin) == ORIGIN_NODE_REPAIR;
}

/* What triggers a table needs. */
static void
wanted_triggers(Relation rel, bool wanted[N_CAPTURE_KINDS])
{
	Relation	root;

	memset(wanted, 0, N_CAPTURE_KINDS * sizeof(bool));
	if (rel->rd_rel->relkind != RELKIND_RELATION || !table_is_replicated(rel) ||
		table_is_own_replicated(rel))
		return;
	root = table_open(table_root(RelationGetRelid(rel)), AccessShareLock);
	switch (table_identity(root))
	{
		case WIRE_IDENTITY_KEY:
			wanted[CAPTURE_TRUNCATE] = true;
			if (table_is_mergeable(root))
				wanted[CAPTURE_WRITE] = !is_copying();
			else
				wanted[CAPTURE_DELETE] = wanted[CAPTURE_UPDATE] = true;
			break;
		case WIRE_IDENTITY_FULL:
			break;
		case WIRE_IDENTITY_NONE:
			wanted[CAPTURE_NO_KEY] = true;
			break;
	}
	table_close(root, AccessShareLock);
}

/* Columns of the key, as a list of names; NIL to look at every update. */
static List *
update_columns(Relation rel)
{
	Relation	root;
	AttrNumber *attnums;
	List	   *names = NIL;
	int			n;

	if (rel->trigdesc && rel->trigdesc->trig_update_before_row)
		return NIL;
	root = table_open(table_root(RelationGetRelid(rel)), AccessShareLock);
	n = table_key_attributes(root, &attnums);
	for (int i = 0; i < n; i++)
		names = lappend(names, makeString(pstrdup(NameStr(TupleDescAttr(RelationGetDescr(root),
																		 attnums[i] - 1)->attname))));
	table_close(root, AccessShareLock);
	return names;
}

/* Creates one trigger. */
static void
create_trigger(Relation rel, CaptureKind kind)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);

	stmt->trigname = TRIGGER_NAME;
	stmt->funcname = list_make2(makeString(EXTENSION_SCHEMA),
								makeString(pstrdup(function_names[kind])));
	switch (kind)
	{
		case CAPTURE_DELETE:
			stmt->row = true;
			stmt->timing = TRIGGER_TYPE_AFTER;
			stmt->events = TRIGGER_TYPE_DELETE;
			break;
		case CAPTURE_UPDATE:
			stmt->row = true;
			stmt->timing = TRIGGER_TYPE_AFTER;
			stmt->events = TRIGGER_TYPE_UPDATE;
			stmt->columns = update_columns(rel);
			break;
		case CAPTURE_TRUNCATE:
			stmt->timing = TRIGGER_TYPE_BEFORE;
			stmt->events = TRIGGER_TYPE_TRUNCATE;
			break;
		case CAPTURE_WRITE:
			stmt->row = true;
			stmt->timing = TRIGGER_TYPE_AFTER;
			stmt->events = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
			break;
		case CAPTURE_NO_KEY:
			/* by row: statement triggers of a partition or child do not fire for its parent's statements */
			stmt->row = true;
			stmt->timing = TRIGGER_TYPE_AFTER;
			stmt->events = TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
			break;
	}
	CreateTriggerFiringOn(stmt, NULL, RelationGetRelid(rel), InvalidOid, InvalidOid,
						  InvalidOid, function_oid(kind), InvalidOid, NULL,
						  true, false, TRIGGER_FIRES_ALWAYS);
	CommandCounterIncrement();
}

/* Tells what an existing trigger of ours is for; false if it is not ours. */
static bool
trigger_kind(const Trigger *t, CaptureKind *kind)
{
	if (!t->tgisinternal || !capture_is_own_function(t->tgfoid))
		return false;
	if (TRIGGER_FOR_TRUNCATE(t->tgtype))
		*kind = CAPTURE_TRUNCATE;
	else if (TRIGGER_FOR_INSERT(t->tgtype))
		*kind = CAPTURE_WRITE;
	else if (TRIGGER_FOR_DELETE(t->tgtype) && TRIGGER_FOR_UPDATE(t->tgtype))
		*kind = CAPTURE_NO_KEY;
	else
		*kind = TRIGGER_FOR_DELETE(t->tgtype) ? CAPTURE_DELETE : CAPTURE_UPDATE;
	return true;
}

/* True if an update trigger looks at just the columns that it should. */
static bool
update_trigger_fits(Relation rel, const Trigger *t)
{
	List	   *columns = update_columns(rel);
	ListCell   *lc;
	int			i = 0;

	if (list_length(columns) != t->tgnattr)
		return false;
	foreach(lc, columns)
	{
		if (get_attnum(RelationGetRelid(rel), strVal(lfirst(lc))) != t->tgattr[i++])
			return false;
	}
	return true;
}

/* Brings one table's triggers in line with what is wanted. */
static void
sync_triggers(Relation rel, bool wanted[N_CAPTURE_KINDS])
{
	bool		have[N_CAPTURE_KINDS] = {0};
	/* a copy: looking names up can have the relation cache replace its own */
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	List	   *drop = NIL;
	ListCell   *lc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];
		CaptureKind kind;

		if (!trigger_kind(t, &kind))
			continue;
		if (!wanted[kind] || have[kind] ||
			(kind == CAPTURE_UPDATE && !update_trigger_fits(rel, t)))
			drop = lappend_oid(drop, t->tgoid);
		else
			have[kind] = true;
	}
	foreach(lc, drop)
	{
		ObjectAddress trigger;

		ObjectAddressSet(trigger, TriggerRelationId, lfirst_oid(lc));
		performDeletion(&trigger, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
		CommandCounterIncrement();
	}
	for (int kind = 0; kind < N_CAPTURE_KINDS; kind++)
	{
		if (wanted[kind] && !have[kind])
			create_trigger(rel, kind);
	}
}

/* Does one table; partitions are passed here one by one. */
static void
install_one(Oid relid)
{
	Relation	rel = try_relation_open(relid, ShareRowExclusiveLock);
	bool		wanted[N_CAPTURE_KINDS];

	if (!rel)
		return;
	if (rel->rd_rel->relkind == RELKIND_RELATION &&
		rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
	{
		wanted_triggers(rel, wanted);
		sync_triggers(rel, wanted);
	}
	relation_close(rel, NoLock);
}

void
capture_install(Oid relid)
{
	List	   *all;
	ListCell   *lc;
	char		kind = get_rel_relkind(relid);

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return;
	all = find_all_inheritors(relid, AccessShareLock, NULL);
	foreach(lc, all)
		install_one(lfirst_oid(lc));
}

/* Oids of all ordinary tables outside the system's and the extension's schemas. */
static List *
all_tables(void)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 0, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class c = (Form_pg_class) GETSTRUCT(tuple);

		if (c->relkind == RELKIND_RELATION && c->relpersistence == RELPERSISTENCE_PERMANENT &&
			c->oid >= FirstNormalObjectId && c->relnamespace != extension_schema_oid())
			result = lappend_oid(result, c->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

void
capture_install_all(void)
{
	ListCell   *lc;

	foreach(lc, all_tables())
	{
		keyless_log_whole_rows(lfirst_oid(lc), false);
		install_one(lfirst_oid(lc));
	}
}

void
capture_remove_all(void)
{
	bool		nothing[N_CAPTURE_KINDS] = {0};
	ListCell   *lc;

	foreach(lc, all_tables())
	{
		Relation	rel = try_relation_open(lfirst_oid(lc), ShareRowExclusiveLock);

		if (!rel)
			continue;
		sync_triggers(rel, nothing);
		relation_close(rel, NoLock);
	}
}

/* Table that a changed object belongs to. */
static Oid
table_of(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX)
		return IndexGetRelation(relid, true);
	return relid;
}

/* Tables that the DDL command at hand touched. */
static List *
changed_tables(void)
{
	List	   *result = NIL;
	MemoryContext context = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute("SELECT CASE WHEN classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass"
					" THEN (SELECT tgrelid FROM pg_catalog.pg_trigger t WHERE t.oid = objid)"
					" ELSE objid END"
					" FROM pg_catalog.pg_event_trigger_ddl_commands()"
					" WHERE classid IN ('pg_catalog.pg_class'::pg_catalog.regclass,"
					" 'pg_catalog.pg_trigger'::pg_catalog.regclass)"
					/* DROP INDEX does not tell the table; these have lost their replica identity */
					" UNION SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relreplident = 'i'"
					" AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the list of changed objects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		relid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		if (!isnull && OidIsValid(table_of(DatumGetObjectId(relid))))
			result = list_append_unique_oid(result, table_of(DatumGetObjectId(relid)));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
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
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_ddl() is called by event triggers only")));
	if (nodes_local_id() == INVALID_NODE_ID)
		PG_RETURN_NULL();
	foreach(lc, list_concat_unique_oid(changed_tables(),
									   detached_tables(data->parsetree)))
	{
		keyless_log_whole_rows(lfirst_oid(lc), is_creation(data->parsetree));
		capture_install(lfirst_oid(lc));
	}
	PG_RETURN_NULL();
}
