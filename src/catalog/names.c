/*
 * names.c
 *		The names of the extension's schema, tables, slots and origins, in one place.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/names.h"

Oid
extension_schema_oid(void)
{
	return get_namespace_oid(EXTENSION_SCHEMA, true);
}

Oid
extension_relation_oid(const char *relname)
{
	Oid			schema = extension_schema_oid();

	return OidIsValid(schema) ? get_relname_relid(relname, schema) : InvalidOid;
}

bool
extension_exists(void)
{
	return OidIsValid(get_extension_oid(EXTENSION_NAME, true));
}

char *
extension_version(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		version = TextDatumGetCString(
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

bool
extension_lock(void)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return extension_exists();
}

char *
slot_name(Oid dboid, NodeId subscriber)
{
	return psprintf("replication_plugin_%u_%d", dboid, subscriber);
}

char *
group_slot_name(Oid dboid)
{
	return psprintf("replication_plugin_%u_group", dboid);
}

char *
origin_name(Oid dboid, NodeId node)
{
	return psprintf("replication_plugin_%u_%d", dboid, node);
}

char *
repair_origin_name(Oid dboid)
{
	return psprintf("replication_plugin_%u_repair", dboid);
}

char *
clock_origin_name(Oid dboid)
{
	return psprintf("replication_plugin_%u_clock", dboid);
}
