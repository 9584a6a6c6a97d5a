/*
 * awaited.c
 *		Tables with awaited values: a write of them was passed over, and the newer state is on its
 *		way.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"

#include "base/session.h"
#include "catalog/awaited.h"
#include "catalog/names.h"
#include "catalog/nodes.h"

/* Columns of awaited_state. */
#define ATT_SCHEMA	1
#define ATT_TABLE	2

static const char insert_awaited_sql[] =
	"INSERT INTO " EXTENSION_SCHEMA "." TABLE_AWAITED_STATE " VALUES ($1, $2, $3, $4, $5, $6)";

/* insert_awaited_sql, prepared for the life of the process */
static SPIPlanPtr insert_plan = NULL;

bool
awaited_any(Relation root)
{
	Oid			relid = extension_relation_oid(TABLE_AWAITED_STATE);
	Relation	states;
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	if (!OidIsValid(relid) || RelationGetNamespace(root) == extension_schema_oid())
		return false;
	states = table_open(relid, AccessShareLock);
	ScanKeyInit(&keys[0], ATT_SCHEMA, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(get_namespace_name(RelationGetNamespace(root))));
	ScanKeyInit(&keys[1], ATT_TABLE, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(RelationGetRelationName(root)));
	keys[0].sk_collation = keys[1].sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(states, InvalidOid, false, NULL, 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(states, AccessShareLock);
	return found;
}

void
awaited_note(Relation root, NodeId origin, XLogRecPtr origin_lsn, const char *until)
{
	Oid			types[6] = {TEXTOID, TEXTOID, INT4OID, LSNOID, INT4OID, TEXTOID};
	Datum		values[6] = {CStringGetTextDatum(get_namespace_name(RelationGetNamespace(root))),
							 CStringGetTextDatum(RelationGetRelationName(root)),
							 Int32GetDatum(origin),
							 LSNGetDatum(origin_lsn),
							 Int32GetDatum(nodes_local_id()),
							 CStringGetTextDatum(until)};
	int			nest;

	nest = session_sql_begin();
	session_keep_plan(&insert_plan, insert_awaited_sql, lengthof(types), types);
	if (SPI_execute_plan(insert_plan, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not note a write that was passed over");
	session_sql_end(nest);
}
