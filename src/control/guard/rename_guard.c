/*
 * rename_guard.c
 *		Refuses to rename a table with kept changes.
 *
 * Tables of a group are identified by their names. What is kept of a waiting table (apply/keep.c)
 * would stay under its former name for ever, and what arrives under the new name would be written
 * before it. Therefore a table can be renamed only when it does not wait any more. Nodes that have
 * renamed it already write under the new name, which waits on this node meanwhile, as a table that
 * does not exist. The same holds for renaming its schema, and for becoming a partition, since
 * changes of partitions carry the name of the partitioned table.
 *
 * A relation that stands in the place of a missing table (a view) can be renamed, and so can a
 * table that was created in the same transaction: nothing could have been applied to it.
 *
 * The hook for objects sees every way of renaming, after the table is locked, so the table cannot
 * begin to wait at that moment.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/own_worker.h"
#include "catalog/waiting_table.h"
#include "control/guard/rename_guard.h"

/* Raises the error. */
static void
rename_guard_refuse(const char *what, const WaitingTable *w)
{
	char	   *table = quote_qualified_identifier(w->schema, w->name);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s on this node now: changes of table %s from other nodes wait here", what, table),
			 errdetail("They are kept under its name."),
			 errhint("The view replication_plugin.waiting_tables says why they wait; try again when that is mended and they are applied. "
					 "SELECT replication_plugin.discard_kept_changes(%s, %s) forgets them.", quote_literal_cstr(w->schema), quote_literal_cstr(w->name))));
}

/*
 * Returns the entry of a local table whose kept changes could have been applied to it, or NULL if
 * there is none. The table's name is the one before the command.
 */
static const WaitingTable *
kept_of(Oid relid)
{
	const WaitingTable *w = waiting_table_kept(relid);
	Relation	rel = w ? RelationIdGetRelation(relid) : NULL;
	bool		is_new;

	if (!rel)
		return NULL;
	is_new = rel->rd_createSubid != InvalidSubTransactionId;
	RelationClose(rel);
	return is_new ? NULL : w;
}

/* Returns true if the command has given a table another name or schema. */
static bool
has_other_name(Oid relid)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		result = form->relnamespace != get_rel_namespace(relid) ||
				 strcmp(NameStr(form->relname), get_rel_name(relid)) != 0;
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

/* Returns true if the command has given a schema another name. */
static bool
schema_has_other_name(Oid nspoid)
{
	Relation	pg_namespace = table_open(NamespaceRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result;

	ScanKeyInit(&key, Anum_pg_namespace_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nspoid));
	scan = systable_beginscan(pg_namespace, NamespaceOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	result =
		HeapTupleIsValid(tuple) && strcmp(NameStr(((Form_pg_namespace) GETSTRUCT(tuple))->nspname),
										  get_namespace_name(nspoid)) != 0;
	systable_endscan(scan);
	table_close(pg_namespace, AccessShareLock);
	return result;
}

/* Checks a new name or schema of a table. */
static void
check_table(Oid relid)
{
	const WaitingTable *w = kept_of(relid);

	if (w && has_other_name(relid))
		rename_guard_refuse(psprintf("table \"%s\" cannot be renamed", get_rel_name(relid)), w);
}

/* Checks a new name of a schema. */
static void
check_schema(Oid nspoid)
{
	Relation	pg_class;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!schema_has_other_name(nspoid))
		return;
	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nspoid));
	scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		const WaitingTable *w = kept_of(((Form_pg_class) GETSTRUCT(tuple))->oid);

		if (w)
			rename_guard_refuse(psprintf("schema \"%s\" cannot be renamed",
										 get_namespace_name(nspoid)),
								w);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
}

/* Checks a table that becomes a partition. */
static void
check_partition(Oid relid, Oid parent)
{
	const WaitingTable *w =
		get_rel_relkind(parent) == RELKIND_PARTITIONED_TABLE ? kept_of(relid) : NULL;

	if (w)
		rename_guard_refuse(psprintf("table \"%s\" cannot become a partition", get_rel_name(relid)),
							w);
}

/* Hook function for objects. */
void
rename_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_POST_ALTER);
	if ((class != RelationRelationId && class != NamespaceRelationId &&
		 class != InheritsRelationId) ||
		subid != 0 || is_own_worker() || creating_extension || !IsTransactionState() ||
		!OidIsValid(MyDatabaseId) || !waiting_tables())
		return;
	if (class == RelationRelationId)
		check_table(object);
	else if (class == NamespaceRelationId)
		check_schema(object);
	else if (arg)
		check_partition(object, ((ObjectAccessPostAlter *) arg)->auxiliary_id);
}
