/*
 * origin_guard.c
 *		Protects the replication origins of groups from being dropped.
 *
 * pg_replication_origin_drop() drops any origin of the server that no process uses at the moment.
 * With an origin of a group, its progress is lost at once and for good, and so is its number, which
 * stands beside the commit timestamps of all rows that the node has written: the next new origin
 * gets that number.
 *
 * PostgreSQL has no hook for the drop itself, but one for a statement that is about to call the
 * function. That hook notes the progress of all origins of groups in shared memory
 * (origin_map_keep_progress()), so that links never apply again what is applied already. Before the
 * transaction commits, the deleted rows are inserted again, with their numbers, and with the
 * progress in the name (catalog/former_origin.h). No other transaction can get such a number in
 * between, since a transaction that creates an origin waits for the lock of the one that drops it.
 * If the transaction is rolled back, the row still exists, and the group worker writes the progress
 * into its name (origin_map_secure_progress()).
 *
 * Transactions that a link applies between the start of the statement and the call are not noted,
 * if the link releases the origin in that time. They are then applied twice, which shows for rows
 * without a key.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_replication_origin.h"
#include "replication/origin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "catalog/former_origin.h"
#include "control/guard/origin_guard.h"
#include "shared/origin_map.h"

/* An origin that this transaction may have dropped. */
typedef struct Guarded
{
	OriginPlace place;
	char	   *name;
} Guarded;

/* Origins of groups (of Guarded *), in TopTransactionContext. */
static List *guarded = NIL;

/* Returns the name of the origin that has the number now, or NULL if there is none. */
static const char *
name_now(const Guarded *g)
{
	char	   *name;

	return replorigin_by_oid(g->place.origin, true, &name) ? name : NULL;
}

/* Returns true if a name is that of the origin, with any progress. */
static bool
is_its_name(const Guarded *g, const char *name)
{
	size_t		len = strcspn(g->name, "@");

	return name && strcspn(name, "@") == len && strncmp(name, g->name, len) == 0;
}

/*
 * Returns true if the origin's row is gone and its group has not dropped it. Raises an error if
 * this transaction has created another origin with the same number.
 */
static bool
is_dropped(const Guarded *g)
{
	const char *name;

	if (is_its_name(g, name_now(g)))
		return false;

	/* a session that takes the database out of its group keeps this lock until the map knows */
	LockRelationOid(ReplicationOriginRelationId, ExclusiveLock);
	if (!origin_map_keeps(&g->place))
		return false;
	name = name_now(g);
	if (name && !is_its_name(g, name))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication origin \"%s\" cannot be replaced by \"%s\", as it belongs to a node of a replication group", g->name, name),
				 errhint("SELECT replication_plugin.leave_group() drops the origins of its database.")));
	return name == NULL;
}

/* Returns the origin's name with its known progress, which was lost with the row. */
static char *
name_with_progress(const Guarded *g)
{
	char	   *name = pstrdup(g->name);

	if (g->place.node <= 0 || g->place.progress == InvalidXLogRecPtr)
		return name;
	name[strcspn(name, "@")] = '\0';
	return former_origin_name(name, g->place.progress);
}

/* Inserts the rows again that the transaction has dropped. */
static void
origin_guard_mend(void)
{
	ListCell   *lc;

	foreach(lc, guarded)
	{
		Guarded    *g = lfirst(lc);

		if (!is_dropped(g))
			continue;
		former_origin_insert(g->place.origin, name_with_progress(g));
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication origin \"%s\" was not dropped, as it belongs to a node of a replication group", g->name),
				 errhint("SELECT replication_plugin.leave_group() drops the origins of its database.")));
	}
}

/* Restores dropped origins before a commit, and forgets the list at any end of a transaction. */
static void
origin_guard_at_end_of_transaction(XactEvent event, void *arg)
{
	if (guarded == NIL)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		origin_guard_mend();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE || event == XACT_EVENT_ABORT)
		guarded = NIL;
}

/* Notes the origins of all groups of the server, before one may be dropped. */
static void
note_origins(void)
{
	MemoryContext old;
	OriginPlace *places;
	int			n;

	origin_map_ensure_loaded();
	old = MemoryContextSwitchTo(TopTransactionContext);
	n = origin_map_keep_progress(&places);
	for (int i = 0; i < n; i++)
	{
		Guarded    *g = palloc(sizeof(Guarded));

		g->place = places[i];
		if (replorigin_by_oid(g->place.origin, true, &g->name))
			guarded = lappend(guarded, g);
	}
	MemoryContextSwitchTo(old);
}

/* Hook function for objects: checks for the function before it is called. */
void
origin_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_FUNCTION_EXECUTE);
	if (object == F_PG_REPLICATION_ORIGIN_DROP)
		note_origins();
}

void
origin_guard_install(void)
{
	RegisterXactCallback(origin_guard_at_end_of_transaction, NULL);
}
