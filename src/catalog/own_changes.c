/*
 * own_changes.c
 *		Finds the tables and schemas whose catalog rows the current transaction has written.
 *
 * Code that checks what a command has done to catalogs must not open other tables than those that
 * the command changed: it would wait for the sessions that have locked them, which may wait for
 * locks of this transaction. Therefore all versions of the catalog rows are read, and those that
 * this transaction inserted or deleted tell which tables to check. A version that a running
 * transaction has deleted is not pruned, so deleted rows are found as well.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "utils/snapmgr.h"

#include "catalog/own_changes.h"

/*
 * Returns true if this transaction, or a subtransaction of it that was not rolled back, has
 * inserted or deleted a version of a row.
 */
static bool
own_changes_is_own(HeapTupleHeader header)
{
	if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)))
		return true;
	return (header->t_infomask & HEAP_XMAX_INVALID) == 0 &&
		   !HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(header));
}

/* Returns the OID of the object to which a row belongs. */
static Oid
object_of(Oid catalog, HeapTuple tuple)
{
	if (catalog == TriggerRelationId)
		return ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	if (catalog == NamespaceRelationId)
		return ((Form_pg_namespace) GETSTRUCT(tuple))->oid;
	Assert(catalog == RelationRelationId);
	return ((Form_pg_class) GETSTRUCT(tuple))->oid;
}

/* Adds the objects whose rows in a catalog this transaction has written to a sorted list. */
static List *
add_changed(List *oids, Oid catalog)
{
	Relation	rel = table_open(catalog, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, SnapshotAny, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (own_changes_is_own(tuple->t_data))
			oids = lappend_oid(oids, object_of(catalog, tuple));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(oids, list_oid_cmp);
	list_deduplicate_oid(oids);
	return oids;
}

List *
own_changed_relations(void)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return NIL;
	return add_changed(add_changed(NIL, RelationRelationId), TriggerRelationId);
}

List *
own_changed_schemas(void)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return NIL;
	return add_changed(NIL, NamespaceRelationId);
}
