/*
 * join.c
 *		SQL functions for joining a group.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "control/join/join.h"

PG_FUNCTION_INFO_V1(replication_plugin_require_join_programs);
PG_FUNCTION_INFO_V1(replication_plugin_sequence_states);

/* require_join_programs(integer) → void */
Datum
replication_plugin_require_join_programs(PG_FUNCTION_ARGS)
{
	join_require_programs(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

/* Returns the OIDs of all sequences outside the schemas of the system and of this extension. */
static List *
all_sequences(void)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 0, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class c = (Form_pg_class) GETSTRUCT(tuple);

		if (c->relkind == RELKIND_SEQUENCE && c->relpersistence != RELPERSISTENCE_TEMP &&
			c->relnamespace != extension_schema_oid() && !IsCatalogNamespace(c->relnamespace) &&
			!isAnyTempNamespace(c->relnamespace))
			result = lappend_oid(result, c->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

/*
 * Puts one sequence into the result, unless it does not exist any more. It is read by its OID,
 * since its name may refer to another relation by now.
 */
static void
put_sequence(Oid relid, ReturnSetInfo *result)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	TupleTableSlot *slot;
	TableScanDesc scan;

	if (!rel)
		return;
	slot = table_slot_create(rel, NULL);
	scan = begin_table_scan(rel, GetActiveSnapshot());
	if (rel->rd_rel->relkind == RELKIND_SEQUENCE &&
		table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		values[0] = CStringGetTextDatum(
			quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									   RelationGetRelationName(rel)));
		values[1] = slot_getattr(slot, SEQ_COL_LASTVAL, &nulls[1]);
		values[2] = slot_getattr(slot, SEQ_COL_CALLED, &nulls[2]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(rel, AccessShareLock);
}

/* sequence_states() → setof (sequence_name text, last_value bigint, is_called boolean) */
Datum
replication_plugin_sequence_states(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, all_sequences())
		put_sequence(lfirst_oid(lc), (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
