/*
 * workers.c
 *		Starts and sets up background workers.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/own_worker.h"
#include "base/session.h"
#include "catalog/names.h"
#include "control/workers/workers.h"

/*
 * Notes that there is no slot for a worker, or that there is one again. Returns true if that has
 * changed.
 */
static bool
note_lack(const char *name, bool lacking)
{
	static List *without = NIL; /* names of workers without a slot, in TopMemoryContext */
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, without)
	{
		if (strcmp(lfirst(lc), name) != 0)
			continue;
		if (lacking)
			return false;
		pfree(lfirst(lc));
		without = foreach_delete_current(without, lc);
		return true;
	}
	if (!lacking)
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	without = lappend(without, pstrdup(name));
	MemoryContextSwitchTo(old);
	return true;
}

BackgroundWorkerHandle *
worker_start(const char *function, const char *name, Datum arg)
{
	BackgroundWorker w;
	BackgroundWorkerHandle *handle;

	memset(&w, 0, sizeof(w));
	w.bgw_flags = OWN_WORKER_FLAGS;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = BGW_NEVER_RESTART;
	w.bgw_notify_pid = MyProcPid;
	w.bgw_main_arg = arg;
	strlcpy(w.bgw_library_name, LIBRARY_NAME, sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, function, sizeof(w.bgw_function_name));
	strlcpy(w.bgw_name, name, sizeof(w.bgw_name));
	strlcpy(w.bgw_type, name, sizeof(w.bgw_type));
	if (RegisterDynamicBackgroundWorker(&w, &handle))
	{
		note_lack(name, false);
		return handle;
	}
	if (note_lack(name, true))
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no free background worker for \"%s\"", name),
				 errhint("Raise max_worker_processes and restart the server.")));
	return NULL;
}

bool
worker_is_running(BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	return handle && GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED;
}

void
worker_setup(Oid dboid)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (OidIsValid(dboid))
		BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	else
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	session_pin_worker();
	/*
	 * A worker checks for deadlocks sooner than a session, so that the worker is rolled back, and
	 * tries again.
	 */
	SetConfigOption("deadlock_timeout", psprintf("%dms", Max(1, Min(DeadlockTimeout / 10, 100))),
					PGC_SUSET, PGC_S_OVERRIDE);
	/* otherwise a worker could wait for a standby that cannot come before the worker is done */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
}

void
worker_plan_once(void)
{
	SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_USERSET, PGC_S_OVERRIDE);
}

void
worker_wait(long ms)
{
	int			events;

	/* report changed rows: otherwise autovacuum would not learn of them */
	pgstat_report_stat(true);
	events =
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);

	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}
