/*
 * group_setting.c
 *		Group settings: rows of a replicated table, the same on all members at rest.
 *
 * Rows are only added. Of the rows with one name, that with the greatest (serial, set_by) counts.
 * So members that have the same rows agree, even if several members set values at the same moment.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "catalog/group_setting.h"
#include "catalog/names.h"

/* Columns of group_setting. */
enum
{
	SETTING_NAME = 1, SETTING_SERIAL, SETTING_SET_BY, SETTING_VALUE
};

char *
group_setting(const char *name)
{
	Oid			relid = extension_relation_oid(TABLE_GROUP_SETTING);
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *value = NULL;
	int64		serial = 0;
	int32		set_by = 0;

	if (!OidIsValid(relid))
		return NULL;
	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&key, SETTING_NAME, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;
		int64		s = DatumGetInt64(heap_getattr(tuple, SETTING_SERIAL, desc, &isnull));
		int32		by = DatumGetInt32(heap_getattr(tuple, SETTING_SET_BY, desc, &isnull));

		if (value && (s < serial || (s == serial && by < set_by)))
			continue;
		serial = s;
		set_by = by;
		value = TextDatumGetCString(heap_getattr(tuple, SETTING_VALUE, desc, &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return value;
}
