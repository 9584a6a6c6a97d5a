/*
 * manager.c
 *		The process that keeps one database's links and slots as they should be.
 *
 * It compares what the tables ask for (members, paused links, removed nodes) with what
 * is running, and mends the difference, whenever something has changed and every few
 * seconds. It holds no state that matters: killed and started again, it finds the same.
 *
 *	local state		what runs
 *	joining: ...	the join worker; the link from the source once its row is there
 *	ready			a link from every other member; a slot for every other member
 *	removed			nothing; slots are dropped
 *
 * Before anything runs, the node's own dsn must lead to this very server: a clone has
 * the same catalog, but its dsn leads to the original.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "catalog/link_status.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/origin_map.h"
#include "control/identity.h"
#include "control/manager_sql.h"
#include "control/workers.h"

#define ROUND_MS		1000
#define PRUNE_MS		60000

typedef struct Manager
{
	Oid			dboid;
	MemoryContext round;		/* reset after each round */
	BackgroundWorkerHandle *join_worker;
	BackgroundWorkerHandle *slot_worker;
	TimestampTz join_started_at;
	TimestampTz pruned_at;
	bool		identity_checked;
	TimestampTz next_check_at;
} Manager;

static Manager manager;

/* ---------- links ---------- */

/* Starts the worker of a link. */
static void
start_link(int index, NodeId provider, bool restart)
{
	link_status_set_starting(index, restart);
	if (!worker_start("replication_plugin_link_main",
					  psprintf("replication_plugin link from node %d", provider),
					  Int32GetDatum(index)))
	{
		link_status_set_error(index, "no free background worker; raise max_worker_processes");
		link_status_set_state(index, LINK_BACKOFF);
	}
}

/* Ends the worker of a link. */
static void
stop_link(const LinkStatus *l)
{
	if (l->pid != 0)
		kill(l->pid, SIGTERM);
}

/* Brings one wanted link to life, or to rest. */
static void
tend_link(NodeId provider, bool paused)
{
	int			index = link_status_find(manager.dboid, provider, true);
	LinkStatus	l;

	if (!link_status_get(index, &l))
		return;
	if (paused)
	{
		stop_link(&l);
		if (l.pid == 0)
			link_status_set_state(index, LINK_PAUSED);
		return;
	}
	if (l.pid != 0)
		return;
	if (l.state == LINK_STARTING &&
		!TimestampDifferenceExceeds(l.next_start_at, GetCurrentTimestamp(), 10000))
		return;					/* registered, not yet attached */
	if (l.state == LINK_BACKOFF && l.next_start_at > GetCurrentTimestamp())
		return;
	start_link(index, provider, l.state == LINK_BACKOFF);
}

/* Ends links that nobody wants any more. */
static void
stop_unwanted(List *wanted)
{
	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;

		if (!link_status_get(i, &l) || l.dboid != manager.dboid ||
			list_member_int(wanted, l.provider))
			continue;
		stop_link(&l);
		if (l.pid == 0)
			link_status_release(i);
	}
}

/* Providers that this node should have links from. */
static List *
wanted_links(LocalNode *local, List *nodes)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (strncmp(local->state, "joining", 7) == 0)
		return sql_link_exists(local->source_id) ? list_make1_int(local->source_id) : NIL;
	if (strcmp(local->state, "ready") != 0)
		return NIL;
	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id != local->node_id && strcmp(n->state, "removed") != 0)
			result = lappend_int(result, n->node_id);
	}
	return result;
}

/* All links. */
static void
tend_links(LocalNode *local, List *nodes)
{
	List	   *wanted = wanted_links(local, nodes);
	ListCell   *lc;

	stop_unwanted(wanted);
	foreach(lc, wanted)
		tend_link(lfirst_int(lc), sql_link_paused(lfirst_int(lc)));
}

/* ---------- other workers ---------- */

/* Joining: keeps the join worker running, with a pause after it failed. */
static void
tend_join(LocalNode *local)
{
	if (strncmp(local->state, "joining", 7) != 0 || worker_is_running(manager.join_worker))
		return;
	if (manager.join_worker &&
		!TimestampDifferenceExceeds(manager.join_started_at, GetCurrentTimestamp(), setting_retry_min * 2))
		return;
	manager.join_started_at = GetCurrentTimestamp();
	MemoryContextSwitchTo(TopMemoryContext);
	manager.join_worker = worker_start("replication_plugin_join_main", "replication_plugin join",
									   ObjectIdGetDatum(manager.dboid));
	MemoryContextSwitchTo(manager.round);
}

/* Slots for other members: missing ones are made by a worker of their own, as that can wait long. */
static void
tend_slots(LocalNode *local)
{
	bool		missing;

	if (strncmp(local->state, "joining", 7) == 0)
		return;
	missing = sql_tend_slots();
	if (!missing || worker_is_running(manager.slot_worker))
		return;
	MemoryContextSwitchTo(TopMemoryContext);
	manager.slot_worker = worker_start("replication_plugin_slot_main", "replication_plugin slot",
									   ObjectIdGetDatum(manager.dboid));
	MemoryContextSwitchTo(manager.round);
}

/* ---------- identity ---------- */

/* Raises an error unless our own dsn leads here. */
static void
require_identity(const char *dsn)
{
	if (identity_check(dsn) != IDENTITY_SAME)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server is a copy: the dsn of its node leads to another server"),
				 errhint("Take the copy out with SELECT replication_plugin.forget_group(), then join it as a node of its own.")));
}

/* Checks that we are who the catalog says. Returns false, with the reason noted, if not (yet). */
static bool
check_identity(LocalNode *local)
{
	MemoryContext context = CurrentMemoryContext;

	if (manager.identity_checked)
		return true;
	if (manager.next_check_at > GetCurrentTimestamp())
		return false;
	PG_TRY();
	{
		require_identity(local->dsn);
		manager.identity_checked = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		ereport(LOG, (errmsg("identity check of the node failed: %s", edata->message)));
		sql_note_error(edata->hint ? psprintf("%s HINT: %s", edata->message, edata->hint) : edata->message);
		manager.next_check_at = GetCurrentTimestamp() + (int64) setting_retry_max * 1000;
	}
	PG_END_TRY();
	if (manager.identity_checked)
		sql_note_error(NULL);
	return manager.identity_checked;
}

/* ---------- rounds ---------- */

/* Reads the local node and all nodes. */
static LocalNode *
read_nodes(List **nodes)
{
	LocalNode  *local = NULL;
	MemoryContext old;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	old = MemoryContextSwitchTo(manager.round);
	if (extension_exists())
	{
		local = nodes_local();
		*nodes = nodes_all();
	}
	MemoryContextSwitchTo(old);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(manager.round);
	return local;
}

/* The local node's row in table node says that it was removed: follow. */
static void
notice_removal(LocalNode *local, List *nodes)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == local->node_id && strcmp(n->state, "removed") == 0 &&
			strcmp(local->state, "ready") == 0)
		{
			ereport(LOG, (errmsg("node \"%s\" has been removed from its group", local->node_name)));
			sql_set_local_state("removed");
			local->state = "removed";
		}
	}
}

/* One round. Returns false when there is nothing to manage any more. */
static bool
work(void)
{
	List	   *nodes = NIL;
	LocalNode  *local = read_nodes(&nodes);

	if (!local)
		return false;
	if (strcmp(local->state, "left") == 0)
	{
		stop_unwanted(NIL);
		if (worker_is_running(manager.join_worker))
			TerminateBackgroundWorker(manager.join_worker);
		return true;
	}
	if (!check_identity(local))
	{
		stop_unwanted(NIL);
		return true;
	}
	notice_removal(local, nodes);
	tend_links(local, nodes);
	tend_join(local);
	tend_slots(local);
	if (TimestampDifferenceExceeds(manager.pruned_at, GetCurrentTimestamp(), PRUNE_MS))
	{
		sql_prune_conflicts();
		manager.pruned_at = GetCurrentTimestamp();
	}
	return true;
}

void
replication_plugin_manager_main(Datum dboid)
{
	List	   *nodes = NIL;

	manager.dboid = DatumGetObjectId(dboid);
	worker_setup(manager.dboid);
	manager.round = AllocSetContextCreate(TopMemoryContext, "manager round", ALLOCSET_DEFAULT_SIZES);
	if (!read_nodes(&nodes))
	{
		manager_status_forget(manager.dboid);
		proc_exit(0);
	}
	if (!manager_status_attach(manager.dboid))
		proc_exit(0);
	origin_map_ensure_loaded();
	for (;;)
	{
		MemoryContextReset(manager.round);
		MemoryContextSwitchTo(manager.round);
		if (!work())
		{
			stop_unwanted(NIL);
			manager_status_forget(manager.dboid);
			proc_exit(0);
		}
		worker_wait(ROUND_MS);
	}
}
