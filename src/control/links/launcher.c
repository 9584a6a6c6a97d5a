/*
 * launcher.c
 *		Starts a manager for each database that is in a group.
 *
 * The launcher cannot look into databases. After a server start it starts a manager in each
 * database, one after the other, so that few worker slots suffice. A manager that finds no group
 * reports that and exits at once, and the database is forgotten. From then on the launcher knows
 * the databases in groups from shared memory (manager_status.c), where create_group() and
 * join_group() enter theirs. It starts missing managers, with a growing pause when managers fail. A
 * database that accepts no connections (ALTER DATABASE ... ALLOW_CONNECTIONS) is waited for:
 * nothing of it is forgotten, and one that accepted none at server start is checked when it does.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/own_worker.h"
#include "catalog/names.h"
#include "control/workers/workers.h"
#include "shared/clock.h"
#include "shared/manager_status.h"
#include "shared/wall_clock.h"

#define IDLE_MS		5000
#define FIRST_LOOK_MS	10000	/* for one database at server start */

/* The databases of this server. */
typedef struct Databases
{
	List	   *open;			/* OIDs of those that accept connections */
	List	   *closed;			/* OIDs of the others, except template databases of initdb */
} Databases;

void
launcher_register(void)
{
	BackgroundWorker w;

	memset(&w, 0, sizeof(w));
	w.bgw_flags = OWN_WORKER_FLAGS;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = 1;
	strlcpy(w.bgw_library_name, LIBRARY_NAME, sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, "replication_plugin_launcher_main", sizeof(w.bgw_function_name));
	strlcpy(w.bgw_name, "replication_plugin launcher", sizeof(w.bgw_name));
	strlcpy(w.bgw_type, "replication_plugin launcher", sizeof(w.bgw_type));
	RegisterBackgroundWorker(&w);
}

/* Reads which databases exist. */
static Databases
launcher_databases(void)
{
	OwnTransaction t = own_transaction_begin_sql();
	Databases	result = {NIL, NIL};
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(t.context);

		if (db->datallowconn)
			result.open = lappend_oid(result.open, db->oid);
		else if (db->oid >= FirstNormalObjectId)
			result.closed = lappend_oid(result.closed, db->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	own_transaction_end(&t);
	return result;
}

/* Starts a manager in a database. Returns NULL if that is not possible now. */
static BackgroundWorkerHandle *
start_manager(Oid dboid)
{
	if (!manager_status_set_starting(dboid))
	{
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no manager for database %u: too many databases have one", dboid),
				 errhint("Raise replication_plugin.max_links and restart the server.")));
		return NULL;
	}
	return worker_start("replication_plugin_manager_main", "replication_plugin manager",
						ObjectIdGetDatum(dboid));
}

/*
 * Returns true until the manager has found that its database is in a group, or has ended and freed
 * its worker slot.
 */
static bool
is_looking(Oid dboid, BackgroundWorkerHandle *handle)
{
	ManagerStatus m;

	return worker_is_running(handle) && !(manager_status_find(dboid, &m) && m.in_group);
}

/* Checks a database: starts a manager there, which ends at once if there is no group. */
static void
launcher_look_at(Oid dboid)
{
	BackgroundWorkerHandle *handle = start_manager(dboid);
	Moment		end = moment_after(FIRST_LOOK_MS);

	while (handle && is_looking(dboid, handle) && moment_ms_until(end) > 0)
		worker_wait(100);
	CHECK_FOR_INTERRUPTS();
}

/* Checks all databases, one after the other. Returns those that accept no connections now. */
static List *
launcher_look_at_all(void)
{
	Databases	all = launcher_databases();
	ListCell   *lc;

	foreach(lc, all.open)
		launcher_look_at(lfirst_oid(lc));
	manager_status_set_looked_at();
	return all.closed;
}

/* Checks databases that accepted no connections before. Returns those that still accept none. */
static List *
launcher_look_again(List *closed, MemoryContext context)
{
	Databases	now;
	List	   *still = NIL;
	ListCell   *lc;

	if (closed == NIL)
		return NIL;
	now = launcher_databases();
	foreach(lc, closed)
	{
		MemoryContext old;

		if (list_member_oid(now.open, lfirst_oid(lc)))
			launcher_look_at(lfirst_oid(lc));
		if (!list_member_oid(now.closed, lfirst_oid(lc)))
			continue;
		old = MemoryContextSwitchTo(context);
		still = lappend_oid(still, lfirst_oid(lc));
		MemoryContextSwitchTo(old);
	}
	list_free(closed);
	return still;
}

/* Starts the managers that are missing and due. Returns how long to sleep, in ms. */
static long
restart_missing(void)
{
	Databases	existing = {NIL, NIL};
	long		sleep = IDLE_MS;

	for (int i = 0; i < manager_status_count(); i++)
	{
		ManagerStatus m;

		if (!manager_status_get(i, &m) || m.pid != 0)
			continue;
		if (moment_ms_until(m.next_start_at) > 0)
		{
			sleep = Min(sleep, moment_ms_until(m.next_start_at));
			continue;
		}
		if (existing.open == NIL)
			existing = launcher_databases();
		if (list_member_oid(existing.closed, m.dboid))
			continue;
		if (!list_member_oid(existing.open, m.dboid))
		{
			manager_status_look(m.dboid);
			(void) manager_status_forget(m.dboid);
			continue;
		}
		(void) start_manager(m.dboid);
		sleep = Min(sleep, 100);
	}
	return sleep;
}

/* Removes the launcher's latch at the end of the process. */
static void
forget_launcher(int code, Datum arg)
{
	manager_status_set_launcher(NULL);
}

void
replication_plugin_launcher_main(Datum arg)
{
	MemoryContext context;
	List	   *closed;
	ClockSaved	saved = {0};

	worker_setup(InvalidOid);
	context = AllocSetContextCreate(TopMemoryContext, "launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	/* recovery has ended with a checkpoint: everything before it belongs to earlier runs */
	manager_status_set_run_start(GetRedoRecPtr());
	manager_status_set_launcher(MyLatch);
	before_shmem_exit(forget_launcher, (Datum) 0);
	MemoryContextSwitchTo(TopMemoryContext);
	closed = launcher_look_at_all();
	MemoryContextSwitchTo(context);
	for (;;)
	{
		long		sleep = restart_missing();

		closed = launcher_look_again(closed, TopMemoryContext);
		clock_save(&saved);
		wall_clock_follow();
		MemoryContextReset(context);
		worker_wait(sleep);
	}
}
