/*
 * keyless.c
 *		Tables that log whole rows, so that their UPDATE and DELETE can be replicated: those
 *		without a key, and some with one.
 *
 * Whether a table has a key depends on its root (table_identity()), but what the WAL contains of an
 * old row depends on the partition of the row. PostgreSQL keeps these separate: a new partition has
 * REPLICA IDENTITY DEFAULT, whatever its root has. Invariant: if a root has REPLICA IDENTITY FULL
 * and no key, then so have all its partitions. Otherwise their updates and deletes would be lost
 * silently.
 *
 * If a key column is stored out of line, an update logs its value with the new row only if it
 * changes the value. The value is logged with the old row, if the key is among the columns of the
 * replica identity. If it is not (a primary key with REPLICA IDENTITY NOTHING, or a partition whose
 * root has REPLICA IDENTITY USING INDEX), such a table gets REPLICA IDENTITY FULL as well.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "capture/keyless.h"
#include "catalog/group_setting.h"
#include "catalog/table_info.h"

/* Resets the mark of the index that is a table's replica identity. */
static void
unmark_index(Oid index)
{
	Relation	pg_index = table_open(IndexRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	((Form_pg_index) GETSTRUCT(tuple))->indisreplident = false;
	CatalogTupleUpdate(pg_index, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(pg_index, RowExclusiveLock);
}

/* Sets REPLICA IDENTITY FULL, as ALTER TABLE would. */
static void
log_whole_rows(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_INDEX &&
		OidIsValid(RelationGetReplicaIndex(rel)))
		unmark_index(RelationGetReplicaIndex(rel));
	((Form_pg_class) GETSTRUCT(tuple))->relreplident = REPLICA_IDENTITY_FULL;
	CatalogTupleUpdate(pg_class, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(pg_class, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
}

/* Returns true if the WAL of an update of a table can lack the key of its root. */
static bool
key_escapes(Relation rel, Relation root)
{
	AttrNumber *attnums;
	int			n = rel->rd_rel->relkind == RELKIND_RELATION
						? table_root_key_attributes(rel, root, &attnums)
						: 0;
	bool		out_of_line = false;

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnums[i] - 1);

		out_of_line |= att->attlen == -1 && att->attstorage != TYPSTORAGE_PLAIN;
	}
	return out_of_line && !table_logs_columns(rel, attnums, n);
}

/* Returns true if this table should log whole rows, but does not. */
static bool
should_log_whole_rows(Relation rel, bool created)
{
	char		has = rel->rd_rel->relreplident;
	Oid			root_oid = table_root(RelationGetRelid(rel));
	bool		result = false;

	if (has == REPLICA_IDENTITY_FULL || !table_is_replicated(rel) || table_is_own_replicated(rel))
		return false;
	if (root_oid == RelationGetRelid(rel) && key_escapes(rel, rel))
		return true;
	if (root_oid != RelationGetRelid(rel))
	{
		Relation	root = table_open(root_oid, AccessShareLock);

		result = table_identity(root) == WIRE_IDENTITY_FULL || key_escapes(rel, root);
		table_close(root, AccessShareLock);
	}
	else if (created && has == REPLICA_IDENTITY_DEFAULT &&
			 table_identity(rel) == WIRE_IDENTITY_NONE)
	{
		char	   *setting = group_setting(GROUP_SETTING_KEYLESS_TABLES);

		result = setting && strcmp(setting, "full") == 0;
	}
	return result;
}

void
keyless_log_whole_rows(Oid relid, bool created)
{
	ListCell   *lc;
	char		kind = get_rel_relkind(relid);

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return;
	/*
	 * A root comes first, so that its partitions see its identity. Locks of tables that need no
	 * change are released.
	 */
	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
	{
		Relation	rel = try_relation_open(lfirst_oid(lc), AccessShareLock);
		bool		should;

		if (!rel)
			continue;
		should = should_log_whole_rows(rel, created && lfirst_oid(lc) == relid);
		relation_close(rel, AccessShareLock);
		if (should && (rel = try_relation_open(lfirst_oid(lc), AccessExclusiveLock)) != NULL)
		{
			log_whole_rows(rel);
			relation_close(rel, NoLock);
		}
	}
}
