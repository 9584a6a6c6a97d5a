/*
 * settings.c
 *		Carries out the effects of changes of the group's settings.
 *
 * The trigger settings_changed() fires for local changes and for rows that arrive from other nodes
 * alike. Effects on processes wait for the commit. Effects on caches use invalidation messages,
 * which decoding replays in stream order.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/name_pattern.h"
#include "base/session.h"
#include "capture/capture.h"
#include "capture/keyless.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "merge/merge_table.h"
#include "shared/manager_status.h"
#include "shared/seen.h"
#include "shared/wakeup.h"
#include "sqlapi/settings.h"
#include "store/parked.h"

static const char mergeable_tables_sql[] =
	"SELECT c.oid FROM " EXTENSION_SCHEMA "." TABLE_MERGEABLE_TABLE " m"
	" JOIN pg_namespace n ON n.nspname = m.schema_name"
	" JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.table_name";

PG_FUNCTION_INFO_V1(replication_plugin_settings_changed);
PG_FUNCTION_INFO_V1(replication_plugin_invalidate_table);
PG_FUNCTION_INFO_V1(replication_plugin_exclusion);
PG_FUNCTION_INFO_V1(replication_plugin_capture_install);
PG_FUNCTION_INFO_V1(replication_plugin_capture_install_all);
PG_FUNCTION_INFO_V1(replication_plugin_capture_remove_all);

/* What happens at the end of the transaction. None of it can fail. */
#define END_RESUME		0x01	/* at any end: suspended workers */
#define END_WAKE		0x02	/* at the commit, as the following */
#define END_REQUEST		0x04
#define END_IN_GROUP	0x08	/* ... for a database that is in a group */
#define END_FORGET_SEEN	0x10

static int	effects = 0;

/*
 * Transaction callback. Resumes suspended workers. Carries out the effects of a transaction at its
 * commit, and forgets them at any end.
 */
static void
settings_at_end_of_transaction(XactEvent event, void *arg)
{
	if (effects == 0 ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	if (effects & END_RESUME)
		manager_status_resume(MyDatabaseId);
	if ((effects & END_REQUEST) && event != XACT_EVENT_ABORT)
		manager_status_request(MyDatabaseId, (effects & END_IN_GROUP) != 0);
	else if ((effects & END_WAKE) && event != XACT_EVENT_ABORT)
		manager_status_wake(MyDatabaseId);
	if ((effects & (END_REQUEST | END_WAKE)) && event != XACT_EVENT_ABORT)
		wakeup_send(WAKEUP_GROUP);
	if ((effects & END_FORGET_SEEN) && event == XACT_EVENT_COMMIT)
		seen_forget();
	effects = 0;
}

void
settings_install(void)
{
	RegisterXactCallback(settings_at_end_of_transaction, NULL);
}

void
settings_wake_at_commit(void)
{
	effects |= END_WAKE;
}

void
settings_request_at_commit(bool in_group)
{
	manager_status_reserve(MyDatabaseId);
	effects = (effects & ~END_IN_GROUP) | END_REQUEST | (in_group ? END_IN_GROUP : 0);
}

void
settings_suspend_workers(void)
{
	effects |= END_RESUME;
	manager_status_suspend(MyDatabaseId);
}

void
settings_forget_seen_at_commit(void)
{
	effects |= END_FORGET_SEEN;
}

/*
 * Makes the rows of a mergeable table show what its policy makes of them. For a table that is
 * excluded now, forgets its stored states, parked rows and tombstones.
 */
static void
show_again(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		replicated = table_is_replicated(rel);
	bool		mergeable = table_is_mergeable(rel) && OidIsValid(table_key_index(rel));

	table_close(rel, NoLock);
	if (nodes_local_id() == INVALID_NODE_ID)
		return;
	if (!replicated)
	{
		parked_forget_all(relid);
		tombstone_forget_all(relid);
	}
	if (mergeable && replicated)
		merge_table_show_all(relid);
	else if (mergeable)
		row_state_forget_all(relid);
}

/* Applies changed settings to a table: capture, caches, and what it shows. */
static void
settings_look_again(Oid relid)
{
	if (nodes_local_id() != INVALID_NODE_ID)
	{
		keyless_log_whole_rows(relid, false);
		capture_install(relid);
	}
	CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
	show_again(relid);
}

/* Handles a changed row of table_setting, mergeable_table or column_merge. */
static void
table_setting_changed(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	char	   *schema = TextDatumGetCString(heap_getattr(tuple, 1, desc, &isnull));
	char	   *name = TextDatumGetCString(heap_getattr(tuple, 2, desc, &isnull));
	Oid			nspoid = get_namespace_oid(schema, true);
	Oid			relid = OidIsValid(nspoid) ? get_relname_relid(name, nspoid) : InvalidOid;

	if (!OidIsValid(relid))
		return;
	CommandCounterIncrement();
	settings_look_again(relid);
}

/* Returns the tables whose names match, without partitions, which follow their roots. */
static List *
matching_tables(const char *schemas, const char *tables)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 0, NULL);
	List	   *relids = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class c = (Form_pg_class) GETSTRUCT(tuple);
		char	   *schema;

		if ((c->relkind != RELKIND_RELATION && c->relkind != RELKIND_PARTITIONED_TABLE) ||
			c->relispartition || c->relpersistence != RELPERSISTENCE_PERMANENT ||
			c->oid < FirstNormalObjectId || !name_pattern_matches(tables, NameStr(c->relname)))
			continue;
		schema = get_namespace_name(c->relnamespace);
		if (schema && strcmp(schema, EXTENSION_SCHEMA) != 0 &&
			name_pattern_matches(schemas, schema))
			relids = lappend_oid(relids, c->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return relids;
}

/* Handles a changed row of table exclusion. */
static void
exclusion_changed(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	char	   *schemas = TextDatumGetCString(heap_getattr(tuple, 3, desc, &isnull));
	char	   *tables = TextDatumGetCString(heap_getattr(tuple, 4, desc, &isnull));
	ListCell   *lc;

	CommandCounterIncrement();
	foreach(lc, matching_tables(schemas, tables))
		settings_look_again(lfirst_oid(lc));
}

/*
 * Handles a change of awaited_state: writes of a table were passed over, or what replaces them has
 * arrived. Updates of the table are then sent differently.
 */
static void
awaited_changed(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Oid			nspoid =
		get_namespace_oid(TextDatumGetCString(heap_getattr(tuple, 1, desc, &isnull)), true);
	Oid relid =
		OidIsValid(nspoid)
			? get_relname_relid(TextDatumGetCString(heap_getattr(tuple, 2, desc, &isnull)), nspoid)
			: InvalidOid;

	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
}

/* Handles a change of node priorities: all mergeable tables may show other rows. */
static void
priority_changed(void)
{
	int			nest;

	CommandCounterIncrement();
	nest = session_sql_begin();
	if (SPI_execute(mergeable_tables_sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the mergeable tables");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			relid = DatumGetObjectId(
					SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		CacheInvalidateRelcacheByRelid(relid);
		show_again(relid);
	}
	session_sql_end(nest);
}

/* settings_changed() → trigger */
Datum
replication_plugin_settings_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	tuple;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("settings_changed() is called by triggers only")));
	tuple =
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	if (strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_AWAITED_STATE) == 0)
	{
		awaited_changed(tuple, RelationGetDescr(trigger->tg_relation));
		return PointerGetDatum(NULL);
	}
	settings_wake_at_commit();
	if (strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_LOCAL_NODE) == 0)
		CacheInvalidateRelcache(trigger->tg_relation);
	if (strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_NODE_PRIORITY) == 0)
		priority_changed();
	if (strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_TABLE_SETTING) == 0 ||
		strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_MERGEABLE_TABLE) == 0 ||
		strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_COLUMN_MERGE) == 0)
		table_setting_changed(tuple, RelationGetDescr(trigger->tg_relation));
	if (strcmp(RelationGetRelationName(trigger->tg_relation), TABLE_EXCLUSION) == 0)
		exclusion_changed(tuple, RelationGetDescr(trigger->tg_relation));
	return PointerGetDatum(NULL);
}

/* invalidate_table(regclass) → void */
Datum
replication_plugin_invalidate_table(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

/*
 * exclusion(schema_name text, table_name text) → text
 *
 * Returns why the table is not replicated, or null if it is.
 */
Datum
replication_plugin_exclusion(PG_FUNCTION_ARGS)
{
	char *reason = exclusion_reason(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									text_to_cstring(PG_GETARG_TEXT_PP(1)));

	if (!reason)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}

/* capture_install(regclass) → void */
Datum
replication_plugin_capture_install(PG_FUNCTION_ARGS)
{
	capture_install(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

/* capture_install_all() → void */
Datum
replication_plugin_capture_install_all(PG_FUNCTION_ARGS)
{
	capture_install_all();
	PG_RETURN_VOID();
}

/* capture_remove_all() → void */
Datum
replication_plugin_capture_remove_all(PG_FUNCTION_ARGS)
{
	capture_remove_all();
	PG_RETURN_VOID();
}
