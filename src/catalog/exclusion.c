/*
 * exclusion.c
 *		The tables that are not replicated, and the reasons.
 *
 * A table is excluded by itself (table_setting), by the newest rule that matches its name
 * (exclusion: names with stars, also of tables that do not exist yet), or because its schema
 * belongs to another extension, or is that of pg_repack: such a schema contains tools of that
 * extension, like the scratch tables of one node. Rules are rows that are never changed, so the
 * outcome does not depend on a clock.
 *
 * Invariant: the answer follows from catalogs and user catalog tables alone, so decoding gets the
 * answer that was right when the rows were written.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/name_pattern.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"

/* Columns of table_setting. */
enum
{
	SETTING_SCHEMA = 1, SETTING_TABLE, SETTING_REPLICATED
};

/* Columns of exclusion. */
enum
{
	RULE_SERIAL = 1, RULE_SET_BY, RULE_SCHEMA, RULE_TABLE, RULE_EXCLUDED
};

/* Returns true if table_setting excludes a table. */
static bool
is_set(const char *schema, const char *name)
{
	Oid			relid = extension_relation_oid(TABLE_TABLE_SETTING);
	Relation	settings;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		excluded = false;

	if (!OidIsValid(relid))
		return false;
	settings = table_open(relid, AccessShareLock);
	ScanKeyInit(&keys[0], SETTING_SCHEMA, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(schema));
	ScanKeyInit(&keys[1], SETTING_TABLE, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	keys[0].sk_collation = keys[1].sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(settings, InvalidOid, false, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (!DatumGetBool(
				heap_getattr(tuple, SETTING_REPLICATED, RelationGetDescr(settings), &isnull)))
			excluded = true;
	}
	systable_endscan(scan);
	table_close(settings, AccessShareLock);
	return excluded;
}

/*
 * Finds the rule that counts for a table. Returns false if there is none. If the rule excludes the
 * table, *reason receives the reason for people, palloc'd; else NULL.
 */
static bool
find_rule(const char *schema, const char *name, char **reason)
{
	Oid			relid = extension_relation_oid(TABLE_EXCLUSION);
	Relation	rules;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		best = -1;
	int32		best_by = 0;

	*reason = NULL;
	if (!OidIsValid(relid))
		return false;			/* decoding is at a point before this version of the extension */
	rules = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rules, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		TupleDesc	desc = RelationGetDescr(rules);
		int64		serial = DatumGetInt64(heap_getattr(tuple, RULE_SERIAL, desc, &isnull));
		int32		by = DatumGetInt32(heap_getattr(tuple, RULE_SET_BY, desc, &isnull));
		char	   *schemas = TextDatumGetCString(heap_getattr(tuple, RULE_SCHEMA, desc, &isnull));
		char	   *tables = TextDatumGetCString(heap_getattr(tuple, RULE_TABLE, desc, &isnull));

		if (serial < best || (serial == best && by < best_by) ||
			!name_pattern_matches(schemas, schema) || !name_pattern_matches(tables, name))
			continue;
		best = serial;
		best_by = by;
		*reason = DatumGetBool(heap_getattr(tuple, RULE_EXCLUDED, desc, &isnull))
					  ? psprintf("excluded by exclude_tables(%s, %s)", quote_literal_cstr(schemas),
								 quote_literal_cstr(tables))
					  : NULL;
	}
	systable_endscan(scan);
	table_close(rules, AccessShareLock);
	return best >= 0;
}

/* Returns the name of the extension to which a schema belongs; NULL if there is none. */
static char *
extension_of_schema(const char *schema)
{
	Oid			nspoid = get_namespace_oid(schema, true);
	Oid			extension =
		OidIsValid(nspoid) ? getExtensionOfObject(NamespaceRelationId, nspoid) : InvalidOid;

	return OidIsValid(extension) ? get_extension_name(extension) : NULL;
}

char *
exclusion_reason(const char *schema, const char *name)
{
	char	   *reason;
	char	   *extension;

	if (is_set(schema, name))
		return pstrdup("excluded by exclude_table()");
	if (find_rule(schema, name, &reason))
		return reason;
	if (strcmp(schema, REPACK_SCHEMA) == 0)
		return pstrdup("not replicated: scratch tables of pg_repack");
	extension = extension_of_schema(schema);
	return extension ? psprintf("not replicated: its schema belongs to extension %s", extension) : NULL;
}
