/*
 * former_origin.c
 *		Former origins: the replication origins of nodes that are out.
 *
 * PostgreSQL keeps the progress of each origin in one of a limited number of places (the setting is
 * max_replication_slots, since 18 max_active_replication_origins), and only dropping the origin frees
 * its place. But the number of a node's origin must not get another
 * meaning when the node is out, because it stands beside the commit timestamps of all rows that the
 * node has written.
 *
 * Therefore such an origin is dropped, and its row is inserted again in the same transaction, with
 * the same number. Its name then has the position up to which the node's transactions were applied.
 * An earlier transaction changes the name, so that after a crash or an error between the two the
 * progress is in both places.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_replication_origin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "catalog/former_origin.h"

#define SEPARATOR	'@'

char *
former_origin_name(const char *name, XLogRecPtr progress)
{
	return psprintf("%s%c%X/%X", name, SEPARATOR, LSN_FORMAT_ARGS(progress));
}

bool
former_origin_read(const char *suffix, XLogRecPtr *progress)
{
	uint32		hi,
				lo;
	XLogRecPtr	found;

	if (suffix[0] != SEPARATOR || sscanf(suffix + 1, "%8X/%8X", &hi, &lo) != 2)
		return false;
	found = (uint64) hi << 32 | lo;
	/* only exactly as written: no sign, no space, nothing after it */
	if (strcmp(suffix, former_origin_name("", found)) != 0)
		return false;
	*progress = found;
	return true;
}

/* Returns a copy of an origin's row. Raises an error if there is none. */
static HeapTuple
origin_row(RepOriginId origin)
{
	HeapTuple	tuple = SearchSysCacheCopy1(REPLORIGIDENT, ObjectIdGetDatum((Oid) origin));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "replication origin %u does not exist", origin);
	return tuple;
}

void
former_origin_rename(RepOriginId origin, const char *name)
{
	Relation	rel = table_open(ReplicationOriginRelationId, ExclusiveLock);
	HeapTuple	tuple = origin_row(origin);
	Datum		values[Natts_pg_replication_origin] = {0};
	bool		nulls[Natts_pg_replication_origin] = {0};
	bool		replaces[Natts_pg_replication_origin] = {0};
	HeapTuple	changed;

	values[Anum_pg_replication_origin_roname - 1] = CStringGetTextDatum(name);
	replaces[Anum_pg_replication_origin_roname - 1] = true;
	changed = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
	CatalogTupleUpdate(rel, &tuple->t_self, changed);
	CommandCounterIncrement();
	table_close(rel, NoLock);
}

void
former_origin_insert(RepOriginId origin, const char *name)
{
	Relation	rel = table_open(ReplicationOriginRelationId, ExclusiveLock);
	Datum		values[Natts_pg_replication_origin];
	bool		nulls[Natts_pg_replication_origin] = {0};

	values[Anum_pg_replication_origin_roident - 1] = ObjectIdGetDatum((Oid) origin);
	values[Anum_pg_replication_origin_roname - 1] = CStringGetTextDatum(name);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CommandCounterIncrement();
	table_close(rel, NoLock);
}

void
former_origin_free(RepOriginId origin, const char *name)
{
	replorigin_drop_by_name(name, false, true);
	former_origin_insert(origin, name);
}
