/*
 * stable_point.c
 *		The stable point: what was stable when the group slot was last moved.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog/names.h"
#include "catalog/stable_point.h"

#define ATT_STABLE_XID	4
#define ATT_STABLE_SEEN	5

/*
 * Returns a column of the table's only row in *value, palloc'd. Returns false if there is no row,
 * as the database is in no group.
 */
static bool
read_column(AttrNumber attnum, Datum *value)
{
	Relation	rel = table_open(extension_relation_oid(TABLE_STABLE_POINT), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull = true;

	if (HeapTupleIsValid(tuple))
		*value = heap_getattr(heap_copytuple(tuple), attnum, RelationGetDescr(rel), &isnull);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !isnull;
}

uint64
stable_point_xid(void)
{
	Datum		xid;

	return read_column(ATT_STABLE_XID, &xid) ? (uint64) DatumGetInt64(xid) : 0;
}

Frontier *
stable_point_seen(void)
{
	Datum		vector;
	Frontier   *seen = read_column(ATT_STABLE_SEEN, &vector)
						   ? frontier_from_text(TextDatumGetCString(vector))
						   : NULL;

	return seen ? seen : frontier_create();
}
