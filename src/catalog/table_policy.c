/*
 * table_policy.c
 *		What a table does with concurrent writes.
 *
 * A row that is never changed tells that a table is mergeable (mergeable_table, read during
 * decoding), so that this does not depend on a clock. The policy is the newest setting.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/names.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"

/* Columns of table_setting that are read here. */
#define ATT_POLICY		4
#define ATT_HANDLER		5

/* Columns of node_priority. */
#define ATT_SERIAL		1
#define ATT_SET_BY		2
#define ATT_NODES		3

static const char *const policy_names[] = {
	[POLICY_LAST_WRITE_WINS] = "last_write_wins",
	[POLICY_SIBLINGS] = "siblings",
	[POLICY_HANDLER] = "handler",
	[POLICY_NODE_PRIORITY] = "node_priority",
	[POLICY_FIRST_WRITE_WINS] = "first_write_wins",
};

const char *
policy_name(Policy policy)
{
	return policy_names[policy];
}

/* Returns the policy with a name. */
static Policy
policy_by_name(const char *name)
{
	for (int i = 0; i < lengthof(policy_names); i++)
	{
		if (strcmp(policy_names[i], name) == 0)
			return i;
	}
	elog(ERROR, "unknown policy \"%s\"", name);
	return POLICY_LAST_WRITE_WINS;
}

/* Begins a scan of one of the extension's tables for the rows about a user's table. */
static SysScanDesc
scan_for(Relation settings, Relation root)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(get_namespace_name(RelationGetNamespace(root))));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(RelationGetRelationName(root)));
	keys[0].sk_collation = keys[1].sk_collation = C_COLLATION_OID;
	return systable_beginscan(settings, InvalidOid, false, NULL, 2, keys);
}

bool
table_is_mergeable(Relation root)
{
	Oid			relid = extension_relation_oid(TABLE_MERGEABLE_TABLE);
	Relation	settings;
	SysScanDesc scan;
	bool		found;

	if (!OidIsValid(relid) || RelationGetNamespace(root) == extension_schema_oid())
		return false;
	settings = table_open(relid, AccessShareLock);
	scan = scan_for(settings, root);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(settings, AccessShareLock);
	return found;
}

char *
table_policy_any(const char *schema)
{
	Relation settings = table_open(extension_relation_oid(TABLE_MERGEABLE_TABLE), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *found = NULL;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(schema));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(settings, InvalidOid, false, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		char	   *name =
			TextDatumGetCString(heap_getattr(tuple, 2, RelationGetDescr(settings), &isnull));
		Oid			relid = get_relname_relid(name, get_namespace_oid(schema, false));
		Relation	rel = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;

		if (rel && table_is_replicated(rel))
			found = name;
		if (rel)
			relation_close(rel, AccessShareLock);
	}
	systable_endscan(scan);
	table_close(settings, AccessShareLock);
	return found;
}

/* Reads the policy and the handler. */
static void
read_setting(Relation root, TablePolicy *policy)
{
	Relation	settings = table_open(extension_relation_oid(TABLE_TABLE_SETTING), AccessShareLock);
	SysScanDesc scan = scan_for(settings, root);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull;
	Datum		d;

	if (HeapTupleIsValid(tuple))
	{
		d = heap_getattr(tuple, ATT_POLICY, RelationGetDescr(settings), &isnull);
		policy->policy = policy_by_name(TextDatumGetCString(d));
		d = heap_getattr(tuple, ATT_HANDLER, RelationGetDescr(settings), &isnull);
		policy->handler = isnull ? NULL : TextDatumGetCString(d);
	}
	systable_endscan(scan);
	table_close(settings, AccessShareLock);
}

/* Reads the merged columns. */
static void
table_policy_read_columns(Relation root, TablePolicy *policy)
{
	Relation	settings = table_open(extension_relation_oid(TABLE_COLUMN_MERGE), AccessShareLock);
	SysScanDesc scan = scan_for(settings, root);
	HeapTuple	tuple;

	policy->columns = palloc(RelationGetDescr(root)->natts * sizeof(ColumnPolicy));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		char	   *name =
			TextDatumGetCString(heap_getattr(tuple, 3, RelationGetDescr(settings), &isnull));
		Datum		merge = heap_getattr(tuple, 4, RelationGetDescr(settings), &isnull);
		AttrNumber	attnum = get_attnum(RelationGetRelid(root), name);
		MergeKind	kind;
		bool		retired;
		int			i;

		if (attnum <= InvalidAttrNumber || !merge_kind_parse(TextDatumGetCString(merge), &kind))
			continue;			/* the column no longer exists */
		retired = DatumGetBool(heap_getattr(tuple, 5, RelationGetDescr(settings), &isnull));
		for (i = policy->ncolumns++; i > 0 && policy->columns[i - 1].attnum > attnum; i--)
			policy->columns[i] = policy->columns[i - 1];
		policy->columns[i] = (ColumnPolicy) {attnum, kind, retired};
	}
	systable_endscan(scan);
	table_close(settings, AccessShareLock);
}

/* Reads the nodes in a row of node_priority. */
static void
table_policy_read_nodes(TablePolicy *policy, Datum nodes)
{
	Datum	   *values;

	deconstruct_array(DatumGetArrayTypeP(nodes), INT4OID, 4, true, TYPALIGN_INT, &values, NULL,
					  &policy->npriority);
	policy->priority = palloc(Max(policy->npriority, 1) * sizeof(NodeId));
	for (int i = 0; i < policy->npriority; i++)
		policy->priority[i] = DatumGetInt32(values[i]);
}

/* Reads the priority of nodes. The row with the greatest (serial, set_by) counts. */
static void
read_priority(TablePolicy *policy)
{
	Relation	rel = table_open(extension_relation_oid(TABLE_NODE_PRIORITY), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int64		best = -1;
	int32		best_by = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int64		serial =
			DatumGetInt64(heap_getattr(tuple, ATT_SERIAL, RelationGetDescr(rel), &isnull));
		int32 by = DatumGetInt32(heap_getattr(tuple, ATT_SET_BY, RelationGetDescr(rel), &isnull));

		if (serial < best || (serial == best && by < best_by))
			continue;
		best = serial;
		best_by = by;
		table_policy_read_nodes(policy,
								heap_getattr(tuple, ATT_NODES, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Returns true until the table is settled, that is, until all writes from before it was mergeable
 * have arrived everywhere (merge_settled, written by the group worker).
 */
static bool
table_policy_is_young(Relation root)
{
	Relation	rel = table_open(extension_relation_oid(TABLE_MERGE_SETTLED), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(root)));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !found;
}

void
table_policy_read(Relation root, TablePolicy *policy)
{
	memset(policy, 0, sizeof(*policy));
	policy->mergeable = table_is_mergeable(root);
	if (!policy->mergeable)
		return;
	policy->young = table_policy_is_young(root);
	read_setting(root, policy);
	table_policy_read_columns(root, policy);
	if (policy->policy == POLICY_NODE_PRIORITY)
		read_priority(policy);
}
