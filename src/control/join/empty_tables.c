/*
 * empty_tables.c
 *		Empties tables before they are copied anew, without running code of their owners.
 *
 * TRUNCATE fires triggers that are always enabled, as its caller, which is a superuser in a join.
 * Here no trigger fires: the emptied tables are filled again in the same transaction, or soon
 * after, and no session sees them empty. If a trigger should come back when the relation cache is
 * rebuilt, it runs as an owner, in a restricted context.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

#include "base/compat.h"
#include "catalog/as_owner.h"
#include "control/join/empty_tables.h"

PG_FUNCTION_INFO_V1(replication_plugin_empty_tables);

/* Returns a table and, if it is partitioned, its partitions that are not foreign tables. */
static List *
with_partitions(Oid relid)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(relid);
	foreach(lc, find_all_inheritors(relid, AccessExclusiveLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_FOREIGN_TABLE)
			result = lappend_oid(result, lfirst_oid(lc));
	}
	return result;
}

/* Opens tables, without triggers for TRUNCATE. */
static List *
open_quiet(List *relids)
{
	List	   *rels = NIL;
	ListCell   *lc;

	foreach(lc, relids)
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessExclusiveLock);

		CheckTableNotInUse(rel, "TRUNCATE");
		rels = lappend(rels, rel);
	}
	foreach(lc, rels)
	{
		TriggerDesc *triggers = ((Relation) lfirst(lc))->trigdesc;

		if (triggers)
			triggers->trig_truncate_before_statement = triggers->trig_truncate_after_statement =
				false;
	}
	return rels;
}

void
empty_tables(List *relids)
{
	List	   *all = NIL;
	List	   *rels;
	ListCell   *lc;
	OwnerContext saved;

	foreach(lc, relids)
		all = list_concat_unique_oid(all, with_partitions(lfirst_oid(lc)));
	if (all == NIL)
		return;
	rels = open_quiet(all);
	saved = as_owner_begin_code(((Relation) linitial(rels))->rd_rel->relowner);
	truncate_tables(rels, all);
	as_owner_end(saved);
	foreach(lc, rels)
	{
		/* look up the triggers anew */
		RelationCacheInvalidateEntry(RelationGetRelid((Relation) lfirst(lc)));
		table_close(lfirst(lc), NoLock);
	}
	CommandCounterIncrement();
}

/* empty_tables(relations regclass[]) → void */
Datum
replication_plugin_empty_tables(PG_FUNCTION_ARGS)
{
	Datum	   *oids;
	int			n;
	List	   *relids = NIL;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT, &oids,
					  NULL, &n);
	for (int i = 0; i < n; i++)
		relids = lappend_oid(relids, DatumGetObjectId(oids[i]));
	empty_tables(relids);
	PG_RETURN_VOID();
}
