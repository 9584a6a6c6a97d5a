/*
 * manager.c
 *		Keeps the links, slots and workers of one database in the state that the catalog asks for.
 *
 * The manager compares what the tables ask for (members, paused links, removed nodes) with what is
 * running, and corrects the difference, whenever something has changed and every second. It has no
 * state that matters: a manager that is killed and started again reaches the same result.
 *
 *	local state		what runs
 *	joining: ...	the join worker; the link from the source once its row exists
 *	ready, leaving	the links that the topology asks for (link_tender.c), the group worker,
 *					and the park worker if there is work for it
 *	removed,		nothing; slots are dropped
 *	needs_rejoin
 *
 * Before anything runs, the node's own dsn must lead to this very server: a clone has the same
 * catalog, but its dsn leads to the original. Until that is known nothing runs, and the views nodes
 * and links show the reason.
 *
 * An error ends the process; the launcher starts it again after a pause (manager_status.c). A
 * session can suspend all other workers while it removes the group's objects.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/settings.h"
#include "catalog/agreement.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/group/clock_guard.h"
#include "control/group/lost_timestamps.h"
#include "control/join/identity.h"
#include "control/links/link_tender.h"
#include "control/links/run_guard.h"
#include "control/links/slot_tender.h"
#include "control/links/wait_watch.h"
#include "control/workers/manager_sql.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"
#include "shared/requirement.h"
#include "wire/protocol.h"

#define ROUND_MS		1000
#define PRUNE_MS		10000
#define NO_WORKER		"no free background worker for "

static const char needs_park_worker_sql[] =
	"SELECT 1 FROM replication_plugin.parked_row UNION ALL SELECT 1"
	" FROM replication_plugin.row_pin"
	" UNION ALL SELECT 1 FROM replication_plugin.waiting_table WHERE kept LIMIT 1";
static const char note_expulsion_sql[] =
	"SELECT replication_plugin.note_expulsion('needs_rejoin', $1)";
static const char note_run_sql[] = "SELECT replication_plugin.note_run()";
static const char take_removal_sql[] =
	"UPDATE replication_plugin.local_node l SET state ="
	" CASE n.reason WHEN 'needs_rejoin' THEN n.reason ELSE 'removed' END"
	" FROM replication_plugin.node n WHERE n.node_id = l.node_id AND l.node_id = $1::integer"
	" RETURNING l.state";
static const char set_dsn_sql[] = "UPDATE replication_plugin.local_node SET dsn = $1";
static const char set_error_sql[] =
	"UPDATE replication_plugin.local_node SET last_error = $1, last_error_at = pg_catalog.now()";
static const char begin_renewal_sql[] = "SELECT replication_plugin.begin_renewal()";
static const char finish_renewal_sql[] = "SELECT replication_plugin.finish_renewal()";
static const char preload_in_sessions_sql[] = "SELECT replication_plugin.preload_in_sessions(true)";

/* A worker of a kind that runs at most once in a database. */
typedef struct ManagedState
{
	BackgroundWorkerHandle *handle;
	Moment		started_at;
	int			failures;		/* starts since it last ran for long, or was not wanted */
	bool		lacking;		/* it could not be started */
	/* this manager has started it once, so an error noted by an earlier manager is cleared */
	bool		placed;
} ManagedState;

typedef struct Manager
{
	Oid			dboid;
	MemoryContext round;		/* reset in each round */
	ManagedState workers[MANAGED_WORKERS];
	Moment		pruned_at;
	bool		found;			/* the launcher knows that there is a group */
	bool		identity_checked;
	Moment		run_guarded_at;	/* the first round of run_guard.c; 0: none yet */
	/* why this library cannot take part, as last reported; empty: it can */
	char		version_problem[256];
	/* group and number under which the run of the server is noted */
	char		noted_as[128];
	/* dsn with which the node's identity was last checked; in TopMemoryContext */
	char	   *checked_dsn;
	int			check_failures;
	Moment		next_check_at;
	const Unmet *unmet;			/* what the server lacks, as last logged */
	bool		timestamps_checked;
	int			without_place;	/* links that cannot run, as last reported */
	bool		healthy;		/* has completed a round */
	LinkTender	links;
	SlotTender	slots;
	WaitWatch	waits;
} Manager;

/* ---------- other workers ---------- */

/* Entry function and name of each kind. */
static const struct
{
	const char *function;
	const char *name;
}			kinds[MANAGED_WORKERS] = {
	[MANAGED_GROUP] = {"replication_plugin_group_main", "replication_plugin group"},
	[MANAGED_JOIN] = {"replication_plugin_join_main", "replication_plugin join"},
	[MANAGED_PARK] = {"replication_plugin_park_main", "replication_plugin park"},
};

/* Returns true if a worker runs that was started by this manager or by an earlier one. */
static bool
is_running(const Manager *manager, ManagedWorker kind)
{
	return worker_is_running(manager->workers[kind].handle) ||
		   manager_status_worker(manager->dboid, kind) != 0;
}

/* Terminates a worker. Returns true if it has ended. */
static bool
end_worker(Manager *manager, ManagedWorker kind)
{
	pid_t		pid = manager_status_worker(manager->dboid, kind);
	BackgroundWorkerHandle *handle = manager->workers[kind].handle;

	if (worker_is_running(handle))
		TerminateBackgroundWorker(handle);
	else if (pid != 0)
		kill(pid, SIGTERM);
	return !is_running(manager, kind);
}

/* Terminates all other workers. Returns true if they have ended. */
static bool
stop_everything(Manager *manager)
{
	bool		ended = true;

	for (ManagedWorker kind = 0; kind < MANAGED_WORKERS; kind++)
		ended &= end_worker(manager, kind);
	return link_tender_stop_all() && ended;
}

/* Returns the pause after a number of failures in a row, in ms. */
static int
pause_after(int failures)
{
	return (int) Min((int64) setting_retry_min << Min(failures - 1, 16), (int64) setting_retry_max);
}

/* Shows in the view nodes that a worker cannot be started, and clears that when it can. */
static void
tell_of_lack(ManagedState *w, const char *name)
{
	if (!w->handle)
		sql_note_error(psprintf(NO_WORKER "\"%s\": what it does stands still HINT: Raise max_worker_processes and restart the server.", name));
	else if (w->lacking || !w->placed)
		sql_clear_error(NO_WORKER "%");
	w->lacking = !w->handle;
	w->placed |= w->handle != NULL;
}

/* Keeps a worker running, with a pause after failures. */
static void
keep_running(Manager *manager, ManagedWorker kind)
{
	ManagedState *w = &manager->workers[kind];

	if (is_running(manager, kind))
	{
		if (moment_is_past(w->started_at, setting_retry_max))
			w->failures = 0;
		return;
	}
	if (w->failures > 0 && !moment_is_past(w->started_at, pause_after(w->failures)))
		return;
	w->started_at = moment_now();
	w->failures++;
	MemoryContextSwitchTo(TopMemoryContext);
	w->handle =
		worker_start(kinds[kind].function, kinds[kind].name, ObjectIdGetDatum(manager->dboid));
	MemoryContextSwitchTo(manager->round);
	tell_of_lack(w, kinds[kind].name);
}

/*
 * Keeps the join worker running while this node joins. A failed try is repeated soon: the join
 * worker itself waits after errors.
 */
static void
tend_join(Manager *manager, LocalNode *local)
{
	ManagedState *w = &manager->workers[MANAGED_JOIN];

	if (strncmp(local->state, "joining", 7) != 0 ||
		(w->handle && !is_running(manager, MANAGED_JOIN) &&
		 !moment_is_past(w->started_at, setting_retry_min * 2)))
		return;
	w->failures = 0;
	keep_running(manager, MANAGED_JOIN);
}

/* Keeps the group worker running on a member, and the park worker while there is work for it. */
static void
tend_member(Manager *manager, LocalNode *local)
{
	if (strcmp(local->state, "ready") != 0 && strcmp(local->state, "leaving") != 0)
	{
		(void) end_worker(manager, MANAGED_GROUP);
		(void) end_worker(manager, MANAGED_PARK);
		return;
	}
	keep_running(manager, MANAGED_GROUP);
	if (sql_value(needs_park_worker_sql, 0, NULL))
		keep_running(manager, MANAGED_PARK);
	else
		manager->workers[MANAGED_PARK].failures = 0;
}

/* ---------- requirements ---------- */

/* Shows in the views nodes and links why nothing runs. */
static void
show_error(const Manager *manager, LocalNode *local, const char *message)
{
	link_tender_show_error(&manager->links, local, message);
	sql_note_error(message);
}

/*
 * Returns true if the server meets all requirements. Otherwise ends all workers and shows the
 * reason in the view links (the view nodes finds it out itself).
 */
static bool
check_requirements(Manager *manager, LocalNode *local)
{
	const Unmet *u = requirement_unmet_by_server();

	if (u)
	{
		if (manager->unmet != u)
			ereport(LOG, (errmsg("nothing is replicated: %s", u->problem), errhint("%s", u->fix)));
		(void) stop_everything(manager);
		link_tender_show_error(&manager->links, local, psprintf("%s HINT: %s", u->problem, u->fix));
	}
	manager->unmet = u;
	return !u;
}

/*
 * Checks once whether commit timestamps are lost that give the versions of rows and are still
 * needed. A node without them must rejoin. Returns false if they are lost.
 */
static bool
check_timestamps(Manager *manager, LocalNode *local)
{
	const char *why[1] = {TIMESTAMPS_LOST " HINT: SELECT replication_plugin.rejoin()"};

	if (manager->timestamps_checked || strcmp(local->state, "removed") == 0 ||
		strcmp(local->state, "needs_rejoin") == 0)
		return true;
	manager->timestamps_checked = !timestamps_are_lost();
	if (manager->timestamps_checked)
		return true;
	if (strncmp(local->state, "joining", 7) == 0)
		show_error(manager, local, TIMESTAMPS_LOST " HINT: Call leave_group(), and join again.");
	else
	{
		ereport(LOG, (errmsg("node \"%s\" must join anew: %s", local->node_name, TIMESTAMPS_LOST)));
		sql_value(note_expulsion_sql, 1, why);
	}
	return false;
}

/* ---------- identity ---------- */

/*
 * Raises an error unless the node's own dsn leads to this server. Sessions are told what it leads
 * to; as long as it leads nowhere, they know what they knew before.
 */
static void
require_identity(const char *dsn)
{
	bool		is_copy = identity_check(dsn) != IDENTITY_SAME;

	manager_status_set_copy(MyDatabaseId, is_copy);
	if (is_copy)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg(IS_A_COPY),
				 errhint(IS_A_COPY_HINT)));
}

/*
 * Checks whether the node's own dsn leads to this server. Returns NULL if it does, else the reason
 * why not.
 */
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
		origin_abort_transaction();
		MemoryContextSwitchTo(context);
		if (edata->sqlerrcode == ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION &&
			!edata->hint)
			edata->hint = "This node must reach itself by its dsn. If it has moved: SELECT replication_plugin.set_node_dsn(...), here or on any member.";
		message =
			edata->hint ? psprintf("%s HINT: %s", edata->message, edata->hint) : edata->message;
	}
	PG_END_TRY();
	return message;
}

/* Stores a dsn as checked. Returns true if it differs from the last one. */
static bool
note_checked(Manager *manager, const char *dsn)
{
	if (manager->checked_dsn && strcmp(manager->checked_dsn, dsn) == 0)
		return false;
	if (manager->checked_dsn)
		pfree(manager->checked_dsn);
	manager->checked_dsn = MemoryContextStrdup(TopMemoryContext, dsn);
	return true;
}

/* Notes this run of the server, once for each group and node number that this database has. */
static void
note_run(Manager *manager, LocalNode *local)
{
	char	   *as = psprintf("%s %d", local->group_id, local->node_id);

	if (strcmp(manager->noted_as, as) == 0)
		return;
	sql_value(note_run_sql, 0, NULL);
	strlcpy(manager->noted_as, as, sizeof(manager->noted_as));
}

/*
 * Checks that this server is the node that its catalog names. Returns false if that is not known
 * yet, or not so, and shows the reason.
 */
static bool
check_identity(Manager *manager, LocalNode *local)
{
	char	   *message;

	if (manager->identity_checked)
	{
		note_run(manager, local);
		return true;
	}
	if (!note_checked(manager, local->dsn) && moment_ms_until(manager->next_check_at) > 0)
		return false;
	message = try_identity(local->dsn);
	if (message)
	{
		if (manager->check_failures == 0)
			ereport(LOG, (errmsg("nothing is replicated: %s", message)));
		show_error(manager, local, message);
		manager->next_check_at = moment_after(pause_after(++manager->check_failures));
		return false;
	}
	if (manager->check_failures > 0)
		sql_note_error(NULL);
	note_run(manager, local);
	manager->identity_checked = true;
	return true;
}

/* ---------- rounds ---------- */

/*
 * Reads the local node, all nodes, the version of the extension's SQL, and the protocol of the
 * group.
 */
static LocalNode *
manager_read_nodes(const Manager *manager, List **nodes, char **version, int *protocol)
{
	OwnTransaction t = own_transaction_begin_sql();
	LocalNode  *local = NULL;
	MemoryContext old;

	*version = NULL;
	old = MemoryContextSwitchTo(manager->round);
	if (extension_lock())
	{
		local = nodes_local();
		*nodes = nodes_all();
		*version = extension_version();
		*protocol = group_protocol();
	}
	MemoryContextSwitchTo(old);
	own_transaction_end(&t);
	return local;
}

/*
 * Follows a removal of this node by its group. Returns false if the local node is gone meanwhile.
 */
static bool
notice_removal(LocalNode *local, List *nodes)
{
	ListCell   *lc;
	char	   *state;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id != local->node_id || strcmp(n->state, "removed") != 0 ||
			(strcmp(local->state, "ready") != 0 && strcmp(local->state, "leaving") != 0))
			continue;
		ereport(LOG, (errmsg("node \"%s\" has been removed from its group", local->node_name)));
		state = sql_value_int(take_removal_sql, local->node_id);
		if (!state)
			return false;
		local->state = state;
	}
	return true;
}

/* Takes over a new dsn that the group was told for this node, if it leads to this server. */
static void
notice_move(Manager *manager, LocalNode *local, List *nodes)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);
		const char *params[1] = {n->dsn};
		char	   *message;

		if (n->node_id != local->node_id || strcmp(n->dsn, local->dsn) == 0 ||
			!note_checked(manager, n->dsn))
			continue;
		message = try_identity(n->dsn);
		if (message)
			ereport(LOG, (errmsg("this node keeps its dsn, as it does not reach itself by the one that the group was told: %s", message)));
		else
			sql_value(set_dsn_sql, 1, params);
	}
}

/* Returns true while a session wants all other workers to be suspended. */
static bool
is_suspended(const Manager *manager)
{
	ManagerStatus m;

	return manager_status_find(manager->dboid, &m) && m.suspended > 0;
}

/*
 * Lets a node that is alone in its group go on after pg_upgrade. This comes before the node has an
 * origin again, and before local writes begin.
 */
static void
renew_after_upgrade(void)
{
	char	   *needed = sql_value(begin_renewal_sql, 0, NULL);

	if (needed && needed[0] == 't')
		sql_value(finish_renewal_sql, 0, NULL);
}

/*
 * Creates the replication origin that COMMIT PREPARED may need, since COMMIT PREPARED itself cannot
 * create one. The lock on local_node keeps it from being created while the group is left (see
 * teardown()).
 */
static void
make_clock_origin(void)
{
	OwnTransaction t = own_transaction_begin();
	Oid			table = extension_lock() ? extension_relation_oid(TABLE_LOCAL_NODE) : InvalidOid;

	if (OidIsValid(table))
	{
		LockRelationOid(table, RowShareLock);
		if (nodes_local())
			(void) origin_map_create(ORIGIN_NODE_CLOCK);
	}
	own_transaction_end(&t);
}

/*
 * Returns why this library cannot take part in the group, or NULL if it can: the extension's SQL has
 * another version, or the group has agreed on a protocol that the library does not speak.
 */
static char *
version_problem(const char *version, int protocol)
{
	char	   *fix;
	char	   *problem;

	if (strcmp(version, EXTENSION_VERSION) != 0)
		return psprintf("the extension is of version %s in this database, and its library of version %s: ALTER EXTENSION replication_plugin UPDATE",
						version, EXTENSION_VERSION);
	/*
	 * What the group has agreed on meanwhile arrives by the links, or with the copy of a joining
	 * node. Each provider judges the protocol, and users' writes are refused (catalog/nodes.c).
	 */
	if (protocol < WIRE_PROTOCOL_OLDEST)
		return NULL;
	problem = protocol_problem(protocol, &fix);
	return problem ? psprintf("%s HINT: %s", problem, fix) : NULL;
}

/*
 * Returns true if this library can take part in the group. Otherwise nothing runs, and the view
 * nodes shows the reason.
 */
static bool
check_version(Manager *manager, LocalNode *local, const char *version, int protocol)
{
	const char *params[1];

	params[0] = version_problem(version, protocol);
	if (!params[0])
	{
		if (manager->version_problem[0] || !manager->healthy)
		{
			sql_clear_error("the extension is of version %");
			sql_clear_error("the group has agreed on protocol %");
		}
		manager->version_problem[0] = '\0';
		return true;
	}
	(void) stop_everything(manager);
	if (strncmp(manager->version_problem, params[0], sizeof(manager->version_problem) - 1) == 0)
		return false;
	ereport(LOG, (errmsg("node \"%s\": %s", local->node_name, params[0])));
	sql_value(set_error_sql, 1, params);
	strlcpy(manager->version_problem, params[0], sizeof(manager->version_problem));
	return false;
}

/*
 * Reports that some links cannot run because max_links are in use, and clears that when they can.
 * The other links go on.
 */
static void
tell_of_places(Manager *manager, int without_place)
{
	if (without_place > 0 && manager->without_place == 0)
	{
		ereport(WARNING,
				(errmsg("%d links of this node cannot run: " LINKS_IN_USE, without_place, link_status_count()),
				 errhint(LINKS_IN_USE_HINT)));
		sql_note_error(psprintf("%d links of this node cannot run: " LINKS_IN_USE
								" HINT: " LINKS_IN_USE_HINT,
								without_place, link_status_count()));
	}
	else if (without_place == 0 && manager->without_place > 0)
		sql_clear_error("% links of this node cannot run: %");
	manager->without_place = without_place;
}

/* Does one round. Returns false if there is nothing left to manage. */
static bool
manager_work(Manager *manager)
{
	List	   *nodes = NIL;
	LocalNode  *local;
	char	   *version;
	int			protocol = WIRE_PROTOCOL_FIRST;

	Assert(manager->dboid == MyDatabaseId && CurrentMemoryContext == manager->round);
	manager_status_look(manager->dboid);
	local = manager_read_nodes(manager, &nodes, &version, &protocol);
	if (!local)
		return false;
	if (!check_version(manager, local, version, protocol))
		return true;
	if (!manager->found)
	{
		renew_after_upgrade();
		make_clock_origin();
		sql_value(preload_in_sessions_sql, 0, NULL);
		manager->found = manager_status_found(manager->dboid);
	}
	if (strcmp(local->state, "left") == 0 || is_suspended(manager))
	{
		(void) stop_everything(manager);
		return true;
	}
	clock_guard_round(local, nodes);
	/* local writes begin only on a node that has the versions of its rows */
	if (!check_requirements(manager, local) || !check_timestamps(manager, local))
		return true;
	run_guard_round(&manager->run_guarded_at, local, nodes);
	if (!check_identity(manager, local))
		return true;
	if (!notice_removal(local, nodes))
		return true;
	notice_move(manager, local, nodes);
	tell_of_places(manager, link_tender_round(&manager->links, local, nodes));
	wait_watch_round(&manager->waits);
	tend_join(manager, local);
	tend_member(manager, local);
	if (strncmp(local->state, "joining", 7) != 0)
		slot_tender_round(&manager->slots);
	if (moment_is_past(manager->pruned_at, PRUNE_MS))
	{
		sql_prune_conflicts();
		manager->pruned_at = moment_now();
	}
	return true;
}

/*
 * Shows the current error in the view nodes, if that can be written, and raises it again. The
 * launcher restarts the manager after a pause.
 */
static void
manager_note_failure(void)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	origin_abort_transaction();
	PG_TRY();
	{
		sql_note_error(psprintf("manager: %s%s%s", edata->message, edata->hint ? " HINT: " : "",
								edata->hint ? edata->hint : ""));
	}
	PG_CATCH();
	{
		FlushErrorState();
	}
	PG_END_TRY();
	ReThrowError(edata);
}

/* Does one round, and shows an error in it. */
static bool
try_work(Manager *manager)
{
	volatile bool more = false;

	PG_TRY();
	{
		more = manager_work(manager);
		if (more && !manager->healthy)
			sql_clear_error("manager: %");
		manager->healthy |= more;
	}
	PG_CATCH();
	{
		manager_note_failure();
	}
	PG_END_TRY();
	return more;
}

void
replication_plugin_manager_main(Datum dboid)
{
	Manager		manager = {.dboid = DatumGetObjectId(dboid)};

	worker_setup(manager.dboid);
	worker_plan_once();
	manager.round =
		AllocSetContextCreate(TopMemoryContext, "manager round", ALLOCSET_DEFAULT_SIZES);
	if (!manager_status_attach(manager.dboid))
		proc_exit(0);
	origin_map_ensure_loaded();
	for (;;)
	{
		MemoryContextReset(manager.round);
		MemoryContextSwitchTo(manager.round);
		if (try_work(&manager))
		{
			manager_status_healthy(manager.dboid);
			worker_wait(ROUND_MS);
			continue;
		}
		if (!stop_everything(&manager))
			worker_wait(50);
		else if (manager_status_forget(manager.dboid))
		{
			origin_hold_forget(manager.dboid);
			proc_exit(0);
		}
	}
}
