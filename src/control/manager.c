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
 * the same catalog, but its dsn leads to the original. Until that is known nothing runs,
 * and the reason is shown in the views nodes and links.
 *
 * An error ends the process; the launcher starts it again after a pause (manager_status.c).
 * A session can have all other workers rest while it takes the group's things away.
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
#include "catalog/manager_status.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/origin_hold.h"
#include "catalog/origin_map.h"
#include "control/identity.h"
#include "control/manager_sql.h"
#include "control/workers.h"

#define ROUND_MS		1000
#define PRUNE_MS		60000
#define ATTACH_MS		10000	/* a registered worker that has not attached by then is given up */

typedef struct Manager
{
	Oid			dboid;
	MemoryContext round;		/* reset after each round */
	BackgroundWorkerHandle *join_worker;
	BackgroundWorkerHandle *slot_worker;
	TimestampTz join_started_at;
	TimestampTz pruned_at;
	TimestampTz slot_started_at;
	int			slot_failures;	/* starts of the slot worker since no slot was missing */
	bool		found;			/* told the launcher that there is a group */
	bool		identity_checked;
	int			check_failures;
	TimestampTz next_check_at;
} Manager;

static Manager manager;

/* ---------- links ---------- */

/* Starts the worker of a link. */
static void
start_link(int index, NodeId provider, bool restart)
{
	if (!link_status_set_starting(index, restart))
		return;
	if (!worker_start("replication_plugin_link_main",
					  psprintf("replication_plugin link from node %d", provider),
					  Int32GetDatum(index)))
		(void) link_status_set_failed(index, "no free background worker HINT: Raise max_worker_processes and restart the server.");
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
		(void) link_status_set_paused(index);
		return;
	}
	if (l.pid != 0)
		return;
	if (l.state == LINK_STARTING &&
		!TimestampDifferenceExceeds(l.started_at, GetCurrentTimestamp(), ATTACH_MS))
		return;					/* registered, not yet attached */
	if (l.state == LINK_BACKOFF && l.next_start_at > GetCurrentTimestamp())
		return;
	start_link(index, provider, l.started_at != 0 && l.state != LINK_PAUSED);
}

/* Ends links that nobody wants any more. Returns true if they have ended. */
static bool
stop_unwanted(List *wanted)
{
	bool		ended = true;

	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;

		if (!link_status_get(i, &l) || l.dboid != manager.dboid ||
			list_member_int(wanted, l.provider))
			continue;
		stop_link(&l);
		ended &= link_status_release(i);
	}
	return ended;
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

/* Ends all other workers. Returns true if the links have ended. */
static bool
stop_everything(void)
{
	if (worker_is_running(manager.join_worker))
		TerminateBackgroundWorker(manager.join_worker);
	if (worker_is_running(manager.slot_worker))
		TerminateBackgroundWorker(manager.slot_worker);
	return stop_unwanted(NIL);
}

/* All links. */
static void
tend_links(LocalNode *local, List *nodes)
{
	List	   *wanted = wanted_links(local, nodes);
	ListCell   *lc;

	(void) stop_unwanted(wanted);
	foreach(lc, wanted)
		tend_link(lfirst_int(lc), sql_link_paused(lfirst_int(lc)));
}

/* ---------- other workers ---------- */

/* Pause after so many failures in a row, ms. */
static int
pause_after(int failures)
{
	return (int) Min((int64) setting_retry_min << Min(failures - 1, 16), (int64) setting_retry_max);
}

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
	if (!missing)
		manager.slot_failures = 0;
	if (!missing || worker_is_running(manager.slot_worker))
		return;
	if (manager.slot_failures > 0 &&
		!TimestampDifferenceExceeds(manager.slot_started_at, GetCurrentTimestamp(), pause_after(manager.slot_failures)))
		return;
	manager.slot_started_at = GetCurrentTimestamp();
	manager.slot_failures++;
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

/* Shows why nothing runs, in the views nodes and links. */
static void
show_error(LocalNode *local, List *nodes, const char *message)
{
	ListCell   *lc;

	foreach(lc, wanted_links(local, nodes))
		(void) link_status_set_failed(link_status_find(manager.dboid, lfirst_int(lc), true), message);
	sql_note_error(message);
}

/* Tries to find out whether our own dsn leads here. Returns NULL if it does, else why not. */
static char *
try_identity(const char *dsn)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile message = NULL;

	PG_TRY();
	{
		require_identity(dsn);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		message = edata->hint ? psprintf("%s HINT: %s", edata->message, edata->hint) : edata->message;
	}
	PG_END_TRY();
	return message;
}

/* Checks that we are who the catalog says. Returns false, with the reason shown, if not (yet). */
static bool
check_identity(LocalNode *local, List *nodes)
{
	char	   *message;

	if (manager.identity_checked)
		return true;
	if (manager.next_check_at > GetCurrentTimestamp())
		return false;
	message = try_identity(local->dsn);
	if (message)
	{
		if (manager.check_failures == 0)
			ereport(LOG, (errmsg("nothing is replicated: %s", message)));
		show_error(local, nodes, message);
		manager.next_check_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
															pause_after(++manager.check_failures));
		return false;
	}
	if (manager.check_failures > 0)
		sql_note_error(NULL);
	manager.identity_checked = true;
	return true;
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

/* True while a session wants all other workers to rest. */
static bool
is_suspended(void)
{
	ManagerStatus m;

	return manager_status_find(manager.dboid, &m) && m.suspended > 0;
}

/* One round. Returns false when there is nothing to manage any more. */
static bool
work(void)
{
	List	   *nodes = NIL;
	LocalNode  *local;

	manager_status_look(manager.dboid);
	local = read_nodes(&nodes);
	if (!local)
		return false;
	if (!manager.found)
		manager_status_found(manager.dboid);
	manager.found = true;
	if (strcmp(local->state, "left") == 0 || is_suspended())
	{
		(void) stop_everything();
		return true;
	}
	if (!check_identity(local, nodes))
		return true;
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
	manager.dboid = DatumGetObjectId(dboid);
	worker_setup(manager.dboid);
	manager.round = AllocSetContextCreate(TopMemoryContext, "manager round", ALLOCSET_DEFAULT_SIZES);
	if (!manager_status_attach(manager.dboid))
		proc_exit(0);
	origin_map_ensure_loaded();
	for (;;)
	{
		MemoryContextReset(manager.round);
		MemoryContextSwitchTo(manager.round);
		if (work())
		{
			manager_status_healthy(manager.dboid);
			worker_wait(ROUND_MS);
			continue;
		}
		if (!stop_everything())
			worker_wait(50);
		else if (manager_status_forget(manager.dboid))
		{
			origin_hold_forget(manager.dboid);
			proc_exit(0);
		}
	}
}
