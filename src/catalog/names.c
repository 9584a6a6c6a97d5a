/*
 * names.c
 *		Names of the extension's schema, tables, slots and origins: one place.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

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
