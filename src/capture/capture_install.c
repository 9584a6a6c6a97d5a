/*
 * capture_install.c
 *		Installs the internal triggers on the tables that need them, and removes them.
 *
 * The triggers are internal ones, like those of foreign keys: \d and pg_dump do not show them. They
 * are installed when a node is created or joins, after DDL (capture_ddl.c), and when a table is
 * excluded or included. They always fire; if a command disables one of them, the same command
 * enables it again. The triggers of a table depend on its key:
 *
 * - A key: capture_row (AFTER DELETE; AFTER UPDATE OF key columns) and capture_truncate.
 * - A key, and mergeable: capture_write (AFTER INSERT, UPDATE, DELETE) and capture_truncate.
 * - No key, REPLICA IDENTITY FULL: none, because the WAL contains the whole old row.
 * - No key otherwise: capture_no_key.
 *
 * A user's BEFORE UPDATE trigger may change a key column that the statement does not name. If a
 * table has such a trigger, capture_row fires for every update.
 *
 * The right of other nodes to read the table is updated together with the triggers (peer_rights.h).
 *
 * Most DDL changes nothing here. A table is therefore checked under the weakest lock, and locked
 * against writers only if its triggers have to change.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "capture/capture.h"
#include "capture/keyless.h"
#include "capture/peer_rights.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/own_changes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "shared/origin_map.h"

#define TRIGGER_NAME	"replication_plugin"
#define DDL_FUNCTION	"capture_ddl"

/* The purposes of trigger functions. */
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

/*
 * Returns the oid of a function of the extension without arguments, whatever rights the user has on
 * the extension's schema. Returns InvalidOid if there is none.
 */
static Oid
own_function(const char *name)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(extension_schema_oid()));
}

/* Returns the oid of a trigger function. */
static Oid
function_oid(CaptureKind kind)
{
	return own_function(function_names[kind]);
}

bool
capture_is_own_function(Oid funcoid)
{
	/* the first two share their function */
	for (int i = CAPTURE_UPDATE; i < N_CAPTURE_KINDS; i++)
	{
		if (function_oid(i) == funcoid)
			return OidIsValid(funcoid);
	}
	return false;
}

bool
capture_is_ddl_function(Oid funcoid)
{
	return OidIsValid(funcoid) && own_function(DDL_FUNCTION) == funcoid;
}

bool
capture_is_own_trigger(Oid trigger)
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	HeapTuple	tuple = get_catalog_object_by_oid(pg_trigger, Anum_pg_trigger_oid, trigger);
	bool own = HeapTupleIsValid(tuple) && ((Form_pg_trigger) GETSTRUCT(tuple))->tgisinternal &&
			   capture_is_own_function(((Form_pg_trigger) GETSTRUCT(tuple))->tgfoid);

	table_close(pg_trigger, AccessShareLock);
	return own;
}

/*
 * Returns true in a session that copies rows for a new node. Its tables get the triggers on inserts
 * when all rows have been copied.
 */
static bool
is_copying(void)
{
	origin_map_ensure_loaded();
	return origin_map_node(replorigin_session_origin) == ORIGIN_NODE_REPAIR;
}

/* Returns the relation under whose name and key a table is replicated. */
static Relation
open_root(Relation rel)
{
	Oid			relid = table_root(RelationGetRelid(rel));
	Relation	root = RelationIdGetRelation(relid);

	if (!root)
		elog(ERROR, "could not open relation %u", relid);
	return root;
}

/* Determines which triggers a table needs. */
static void
wanted_triggers(Relation rel, bool wanted[N_CAPTURE_KINDS])
{
	Relation	root;

	memset(wanted, 0, N_CAPTURE_KINDS * sizeof(bool));
	if (rel->rd_rel->relkind != RELKIND_RELATION || !table_is_replicated(rel) ||
		table_is_own_replicated(rel))
		return;
	root = open_root(rel);
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
	RelationClose(root);
}

/* Returns the names of the key's columns; NIL if the trigger must fire for every update. */
static List *
update_columns(Relation rel)
{
	Relation	root;
	AttrNumber *attnums;
	List	   *names = NIL;
	bool		generated = false;
	int			n;

	if (rel->trigdesc && rel->trigdesc->trig_update_before_row)
		return NIL;
	root = open_root(rel);
	n = table_key_attributes(root, &attnums);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(root), attnums[i] - 1);

		generated |= att->attgenerated != '\0';
		names = lappend(names, makeString(pstrdup(NameStr(att->attname))));
	}
	RelationClose(root);
	return generated ? NIL : names;
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
			/*
			 * a row trigger: statement triggers of a partition or child do not fire for statements
			 * on its parent
			 */
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

/*
 * Determines the purpose of an existing trigger. Returns false if the trigger is not the
 * extension's.
 */
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

/* Returns true if an update trigger is restricted to exactly the required columns. */
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

/* The required changes to a table's triggers. */
typedef struct Changes
{
	List	   *drop;			/* oids */
	List	   *arm;			/* oids of triggers that do not always fire */
	bool		create[N_CAPTURE_KINDS];
	bool		any;
} Changes;

/* Compares a table's triggers with the required ones. */
static void
plan_changes(Relation rel, const bool wanted[N_CAPTURE_KINDS], Changes *changes)
{
	bool		have[N_CAPTURE_KINDS] = {0};
	/* a copy, because name lookups can make the relation cache replace its own */
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);

	memset(changes, 0, sizeof(*changes));
	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];
		CaptureKind kind;

		if (!trigger_kind(t, &kind))
			continue;
		if (!wanted[kind] || have[kind] ||
			(kind == CAPTURE_UPDATE && !update_trigger_fits(rel, t)))
		{
			changes->drop = lappend_oid(changes->drop, t->tgoid);
			continue;
		}
		have[kind] = true;
		if (t->tgenabled != TRIGGER_FIRES_ALWAYS)
			changes->arm = lappend_oid(changes->arm, t->tgoid);
	}
	changes->any = changes->drop != NIL || changes->arm != NIL;
	for (int kind = 0; kind < N_CAPTURE_KINDS; kind++)
	{
		changes->create[kind] = wanted[kind] && !have[kind];
		changes->any |= changes->create[kind];
	}
}

/* Makes a trigger always fire that was disabled, or enabled for some sessions only. */
static void
arm_trigger(Relation rel, Oid trigger)
{
	Relation	pg_trigger = table_open(TriggerRelationId, RowExclusiveLock);
	HeapTuple	tuple = get_catalog_object_by_oid(pg_trigger, Anum_pg_trigger_oid, trigger);

	if (HeapTupleIsValid(tuple))
	{
		((Form_pg_trigger) GETSTRUCT(tuple))->tgenabled = TRIGGER_FIRES_ALWAYS;	/* a copy */
		CatalogTupleUpdate(pg_trigger, &tuple->t_self, tuple);
		CacheInvalidateRelcache(rel);
	}
	table_close(pg_trigger, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Makes a table have exactly the required triggers. */
static void
sync_triggers(Relation rel, const bool wanted[N_CAPTURE_KINDS])
{
	Changes		changes;
	ListCell   *lc;

	plan_changes(rel, wanted, &changes);
	foreach(lc, changes.drop)
	{
		ObjectAddress trigger;

		ObjectAddressSet(trigger, TriggerRelationId, lfirst_oid(lc));
		performDeletion(&trigger, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
		CommandCounterIncrement();
	}
	foreach(lc, changes.arm)
		arm_trigger(rel, lfirst_oid(lc));
	for (int kind = 0; kind < N_CAPTURE_KINDS; kind++)
	{
		if (changes.create[kind])
			create_trigger(rel, kind);
	}
}

/* Determines the triggers that a table needs. Returns true if they differ from the present ones. */
static bool
is_due(Relation rel, bool wanted[N_CAPTURE_KINDS])
{
	Changes		changes;

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return false;
	wanted_triggers(rel, wanted);
	plan_changes(rel, wanted, &changes);
	return changes.any;
}

/* Updates the triggers of one table; the caller passes partitions one by one. */
static void
install_one(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		wanted[N_CAPTURE_KINDS];
	bool		due = rel && is_due(rel, wanted);

	if (rel)
		relation_close(rel, due ? NoLock : AccessShareLock);
	if (!due)
		return;
	rel = try_relation_open(relid, ShareRowExclusiveLock);
	if (!rel)
		return;
	if (is_due(rel, wanted))
		sync_triggers(rel, wanted);
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
	{
		install_one(lfirst_oid(lc));
		peer_rights_sync(lfirst_oid(lc));
	}
}

/* Returns the oids of all permanent ordinary tables of users, outside the extension's schema. */
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
	peer_rights_sync_all();
}

void
capture_install_changed(void)
{
	ListCell   *lc;

	foreach(lc, own_changed_relations())
	{
		if (get_rel_namespace(lfirst_oid(lc)) == extension_schema_oid())
			continue;
		keyless_log_whole_rows(lfirst_oid(lc), false);
		install_one(lfirst_oid(lc));
		peer_rights_sync(lfirst_oid(lc));
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
	peer_rights_remove_all();
}
