/*
 * launcher.c
 *		Sees to it that each database in a group has a manager.
 *
 * The launcher cannot look into databases. After a server start it starts a manager in
 * each; one that finds no group there exits at once, after telling so (the database is
 * forgotten). From then on it knows the databases in groups from shared memory, where
 * create_group() and join_group() enter theirs, and starts a manager that is missing.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "catalog/link_status.h"
#include "catalog/names.h"
#include "control/workers.h"

#define IDLE_MS		5000
#define RETRY_MS	1000

void
launcher_register(void)
{
	BackgroundWorker w;

	memset(&w, 0, sizeof(w));
	w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = 1;
	strlcpy(w.bgw_library_name, PLUGIN_NAME, sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, "replication_plugin_launcher_main", sizeof(w.bgw_function_name));
	strlcpy(w.bgw_name, "replication_plugin launcher", sizeof(w.bgw_name));
	strlcpy(w.bgw_type, "replication_plugin launcher", sizeof(w.bgw_type));
	RegisterBackgroundWorker(&w);
}

/* Oids of all databases that can be connected to. */
static List *
databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *result = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(context);

		if (db->datallowconn)
			result = lappend_oid(result, db->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

/* Starts a manager in a database. */
static void
start_manager(Oid dboid)
{
	BackgroundWorkerHandle *handle = worker_start("replication_plugin_manager_main",
												  "replication_plugin manager",
												  ObjectIdGetDatum(dboid));
	pid_t		pid;

	if (handle)
		(void) WaitForBackgroundWorkerStartup(handle, &pid);
}

/* Starts the managers that are missing. Returns true if all are there. */
static bool
restart_missing(void)
{
	List	   *existing = NIL;
	bool		complete = true;

	for (int i = 0; i < manager_status_count(); i++)
	{
		ManagerStatus m;

		if (!manager_status_get(i, &m) || m.pid != 0)
			continue;
		if (existing == NIL)
			existing = databases();
		if (!list_member_oid(existing, m.dboid))
		{
			manager_status_forget(m.dboid);
			continue;
		}
		start_manager(m.dboid);
		complete = false;
	}
	list_free(existing);
	return complete;
}

/* The launcher is going. */
static void
forget_launcher(int code, Datum arg)
{
	manager_status_set_launcher(NULL);
}

void
replication_plugin_launcher_main(Datum arg)
{
	ListCell   *lc;
	bool		complete = true;

	worker_setup(InvalidOid);
	manager_status_set_launcher(MyLatch);
	before_shmem_exit(forget_launcher, (Datum) 0);
	foreach(lc, databases())
	{
		start_manager(lfirst_oid(lc));
		CHECK_FOR_INTERRUPTS();
	}
	for (;;)
	{
		/* a manager that fails is given a pause before the next try */
		worker_wait(complete ? IDLE_MS : RETRY_MS);
		complete = restart_missing();
	}
}
