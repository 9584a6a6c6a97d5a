/*
 * keyless.c
 *		Tables without a key that log whole rows, so that their UPDATE and DELETE can be replicated.
 *
 * Whether a table has a key is a matter of its root (table_identity()); what the WAL has of an old row is a matter of the
 * partition that the row is in. PostgreSQL sets the two apart from each other: a new partition has REPLICA
 * IDENTITY DEFAULT, whatever its root has. Invariant: where a root is REPLICA IDENTITY FULL without a key, so are all
 * its partitions; else their updates and deletes would be lost in silence.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/group_setting.h"
#include "catalog/table_info.h"
#include "conflict/keyless.h"

/* Sets REPLICA IDENTITY FULL, as ALTER TABLE would. The table has no replica identity index, so none needs to be unmarked. */
static void
log_whole_rows(Oid relid)
{
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	((Form_pg_class) GETSTRUCT(tuple))->relreplident = REPLICA_IDENTITY_FULL;
	CatalogTupleUpdate(pg_class, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(pg_class, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
}

/* True if this table should log whole rows, and does not. */
static bool
should_log_whole_rows(Relation rel, bool created)
{
	char		has = rel->rd_rel->relreplident;
	Oid			root_oid = table_root(RelationGetRelid(rel));
	bool		result = false;

	if (has == REPLICA_IDENTITY_FULL || !table_is_replicated(rel) || table_is_own_replicated(rel))
		return false;
	if (root_oid != RelationGetRelid(rel))
	{
		Relation	root = table_open(root_oid, AccessShareLock);

		result = table_identity(root) == WIRE_IDENTITY_FULL;
		table_close(root, AccessShareLock);
	}
	else if (created && has == REPLICA_IDENTITY_DEFAULT && table_identity(rel) == WIRE_IDENTITY_NONE)
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
	/* A root comes first, so that its partitions see what it has. Locks of tables for which nothing is to do are not kept. */
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
			log_whole_rows(lfirst_oid(lc));
			relation_close(rel, NoLock);
		}
	}
}
