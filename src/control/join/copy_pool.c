/*
 * copy_pool.c
 *		Workers that write the rows of a joining node: several processes take tasks from one list.
 *
 * The tasks and their results are in a segment of shared memory. A worker takes the next task that
 * no other worker has taken. It runs in replica role and under a replication origin of its own
 * ("..._repair", "..._repair1", ...; in PostgreSQL 15, one process at a time can use an origin). So
 * the copied rows have the oldest version and are never sent, and no trigger or foreign key is
 * checked for them. These origins are not dropped while the database is in the group, because the
 * commit data of the rows refers to them.
 *
 * Functions of a table (in a CHECK constraint, for example) may read other tables, which another
 * worker has just emptied, so two workers can wait for each other. PostgreSQL ends one of the two
 * transactions as a deadlock; a single worker repeats its task after the others have finished.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/own_transaction.h"
#include "catalog/names.h"
#include "control/join/copy_pool.h"
#include "control/workers/error_text.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

#define MAX_WORKERS		16
#define TELL_MS			500
#define WORKER_NAME		"replication_plugin copy"

static const char reload_origins_sql[] = "SELECT replication_plugin.reload_origins()";
static const char end_old_workers_sql[] =
	"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
	" WHERE datname = current_database() AND backend_type = '" WORKER_NAME "'";

typedef enum TaskState
{
	TASK_WAITING,
	TASK_AT_WORK,
	TASK_AGAIN,					/* met a deadlock, to be repeated */
	TASK_DONE
} TaskState;

/* A task: offsets of its texts in the segment; 0: no text. */
typedef struct SharedTask
{
	TaskState	state;
	int			nparams;
	Size		what;
	Size		sql;
	Size		params[COPY_TASK_PARAMS];
} SharedTask;

typedef struct SharedWorker
{
	int			pid;			/* 0: not started yet */
	bool		through;		/* ended normally */
	bool		failed;
	int			task;			/* current task, or the one that failed */
	ErrorText	error;
} SharedWorker;

/* The segment. The lock protects everything that changes after the workers have started. */
typedef struct Shared
{
	slock_t		lock;
	Oid			database;
	Latch	   *leader;
	int			nworkers;		/* started */
	int			first;			/* no task before this one waits */
	int			done;
	int64		rows;
	int64		bytes;
	SharedWorker workers[MAX_WORKERS];
	int			ntasks;
	SharedTask	tasks[FLEXIBLE_ARRAY_MEMBER];
} Shared;

/* ---------- the worker ---------- */

/* Sets up a replication origin that marks this process's writes as copied. */
static void
set_up_origin(int number)
{
	char		  *name = number == 0 ? repair_origin_name(MyDatabaseId)
									  : psprintf("%s%d", repair_origin_name(MyDatabaseId), number);
	OwnTransaction t = own_transaction_begin();
	RepOriginId origin;

	origin = replorigin_by_name(name, true);
	if (origin == InvalidRepOriginId)
		origin = replorigin_create(name);
	own_transaction_end(&t);
	sql_value(reload_origins_sql, 0, NULL);
	t = own_transaction_begin();
	origin_acquire(origin);
	origin_mark(origin);
	own_transaction_end(&t);
}

/* Returns a text of the segment, or NULL if there is none. */
static const char *
text_at(Shared *s, Size offset)
{
	return offset ? (char *) s + offset : NULL;
}

/* Takes the next task. Returns false if there is none. */
static bool
take_task(Shared *s, SharedWorker *me)
{
	bool		found = false;

	SpinLockAcquire(&s->lock);
	for (int i = s->first; i < s->ntasks && !found; i++)
	{
		if (s->tasks[i].state != TASK_WAITING)
			continue;
		s->tasks[i].state = TASK_AT_WORK;
		s->first = i + 1;
		me->task = i;
		found = true;
	}
	SpinLockRelease(&s->lock);
	return found;
}

/*
 * Notes the result of a task. TASK_WAITING means that the task has failed, with an error that is
 * noted already.
 */
static void
leave_task(Shared *s, SharedWorker *me, TaskState state, int64 rows, int64 bytes)
{
	SpinLockAcquire(&s->lock);
	s->tasks[me->task].state = state;
	me->failed = state == TASK_WAITING;
	s->done += state == TASK_DONE ? 1 : 0;
	s->rows += rows;
	s->bytes += bytes;
	SpinLockRelease(&s->lock);
	SetLatch(s->leader);
}

/* Returns a number from the first row of the result; 0 if it is null. */
static int64
result_number(int column)
{
	bool		isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Does the current task in a transaction. */
static void
do_task(Shared *s, SharedWorker *me)
{
	SharedTask *t = &s->tasks[me->task];
	OwnTransaction own;
	Oid			types[COPY_TASK_PARAMS];
	Datum		values[COPY_TASK_PARAMS];
	int64		rows = 0;
	int64		bytes = 0;

	pgstat_report_activity(STATE_RUNNING, text_at(s, t->what));
	own = sql_transaction_begin();
	SPI_connect();
	for (int i = 0; i < t->nparams; i++)
	{
		types[i] = TEXTOID;
		values[i] = CStringGetTextDatum(text_at(s, t->params[i]));
	}
	if (SPI_execute_with_args(text_at(s, t->sql), t->nparams, types, values, NULL, false, 0) < 0)
		elog(ERROR, "statement failed: %s", text_at(s, t->sql));
	if (SPI_processed > 0 && SPI_tuptable && SPI_tuptable->tupdesc->natts == 2)
	{
		rows = result_number(1);
		bytes = result_number(2);
	}
	SPI_finish();
	own_transaction_end(&own);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	leave_task(s, me, TASK_DONE, rows, bytes);
}

/* Does tasks until there are no more. Returns false if one has failed. */
static bool
do_tasks(Shared *s, SharedWorker *me)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "copy", ALLOCSET_DEFAULT_SIZES);

	while (!me->failed && take_task(s, me))
	{
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			do_task(s, me);
		}
		PG_CATCH();
		{
			bool		deadlock = geterrcode() == ERRCODE_T_R_DEADLOCK_DETECTED;

			MemoryContextSwitchTo(context);
			if (deadlock)
				FlushErrorState();
			else
				error_text_take(&me->error);
			AbortCurrentTransaction();
			leave_task(s, me, deadlock ? TASK_AGAIN : TASK_WAITING, 0, 0);
		}
		PG_END_TRY();
		MemoryContextReset(context);
	}
	return !me->failed;
}

void
replication_plugin_copy_main(Datum handle)
{
	dsm_segment *segment = dsm_attach(DatumGetUInt32(handle));
	Shared	   *s = segment ? dsm_segment_address(segment) : NULL;
	SharedWorker *me;
	int			number;

	if (!s)
		proc_exit(0);			/* the leader has ended */
	SpinLockAcquire(&s->lock);
	number = s->nworkers++;
	SpinLockRelease(&s->lock);
	me = &s->workers[number];
	me->pid = MyProcPid;
	worker_setup(s->database);
	SetConfigOption("application_name", WORKER_NAME, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("session_replication_role", "replica", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	set_up_origin(number);
	me->through = do_tasks(s, me);
	SetLatch(s->leader);
	proc_exit(0);
}

/* ---------- the leader ---------- */

/* The state of the leader. */
typedef struct Pool
{
	dsm_segment *segment;
	Shared	   *shared;
	BackgroundWorkerHandle *running[MAX_WORKERS];	/* NULL: ended */
} Pool;

/* Terminates all workers that still run. */
static void
end_workers(int code, Datum arg)
{
	Pool	   *pool = (Pool *) DatumGetPointer(arg);

	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (pool->running[i])
			TerminateBackgroundWorker(pool->running[i]);
		pool->running[i] = NULL;
	}
}

/* Starts up to n workers. Raises an error if not even one can be started. */
static void
begin_workers(Pool *pool, int n)
{
	int			begun = 0;

	for (int i = 0; i < n; i++)
	{
		pool->running[i] = worker_start("replication_plugin_copy_main", WORKER_NAME,
										UInt32GetDatum(dsm_segment_handle(pool->segment)));
		begun += pool->running[i] ? 1 : 0;
	}
	if (begun == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("there is no free background worker that could copy rows"),
				 errhint("Raise max_worker_processes and restart the server.")));
}

/* Appends a text to the segment. Returns its offset, or 0 for NULL. */
static Size
put_text(Shared *s, Size *end, const char *text)
{
	Size		offset = *end;

	if (!text)
		return 0;
	strcpy((char *) s + offset, text);
	*end += strlen(text) + 1;
	return offset;
}

/* Returns the size of the texts of a task. */
static Size
size_of_texts(const CopyTask *t)
{
	Size		size = strlen(t->what) + strlen(t->sql) + 2;

	for (int i = 0; i < t->nparams; i++)
		size += strlen(t->params[i]) + 1;
	return size;
}

/* Creates the segment. */
static dsm_segment *
make_segment(const CopyTask *tasks, int ntasks)
{
	Size		end = offsetof(Shared, tasks) + ntasks * sizeof(SharedTask);
	Size		size = end;
	dsm_segment *segment;
	Shared	   *s;

	for (int i = 0; i < ntasks; i++)
		size += size_of_texts(&tasks[i]);
	segment = dsm_create(size, 0);
	dsm_pin_mapping(segment);
	s = dsm_segment_address(segment);
	memset(s, 0, end);
	SpinLockInit(&s->lock);
	s->database = MyDatabaseId;
	s->leader = MyLatch;
	s->ntasks = ntasks;
	for (int i = 0; i < ntasks; i++)
	{
		SharedTask *t = &s->tasks[i];

		t->state = TASK_WAITING;
		t->nparams = tasks[i].nparams;
		t->what = put_text(s, &end, tasks[i].what);
		t->sql = put_text(s, &end, tasks[i].sql);
		for (int k = 0; k < t->nparams; k++)
			t->params[k] = put_text(s, &end, tasks[i].params[k]);
	}
	return segment;
}

/* Raises the error of a worker that has failed. */
static void
check_workers(Shared *s)
{
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		SharedWorker *w = &s->workers[i];

		if (w->failed)
			error_text_raise(&w->error, text_at(s, s->tasks[w->task].what));
	}
}

/* Reports the progress of all tasks to the caller's function. */
static void
tell_progress(Shared *s, void (*tell) (const CopyProgress *progress, void *arg), void *arg)
{
	CopyProgress progress;
	StringInfoData pids;

	initStringInfo(&pids);
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (s->workers[i].pid)
			appendStringInfo(&pids, "%c%d", pids.len ? ',' : '{', s->workers[i].pid);
	}
	appendStringInfoString(&pids, pids.len ? "}" : "{}");
	SpinLockAcquire(&s->lock);
	progress = (CopyProgress) {s->done, s->rows, s->bytes, pids.data};
	SpinLockRelease(&s->lock);
	tell(&progress, arg);
	pfree(pids.data);
}

/* Returns true while a worker runs. */
static bool
any_runs(Pool *pool)
{
	bool		any = false;

	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (pool->running[i] && !worker_is_running(pool->running[i]))
			pool->running[i] = NULL;
		any = any || pool->running[i];
	}
	return any;
}

/* Waits until all workers have ended. Raises an error if one of them has not ended normally. */
static void
wait_for_workers(Pool *pool, void (*tell) (const CopyProgress *progress, void *arg), void *arg)
{
	Shared	   *s = pool->shared;

	while (any_runs(pool))
	{
		check_workers(s);
		tell_progress(s, tell, arg);
		worker_wait(TELL_MS);
	}
	check_workers(s);
	for (int i = 0; i < s->nworkers; i++)
	{
		if (!s->workers[i].through)
			ereport(ERROR,
					(errcode(ERRCODE_ADMIN_SHUTDOWN),
					 errmsg("a worker that copies rows was ended")));
	}
}

/* Makes tasks that met a deadlock wait again. Returns true if there were any. */
static bool
renew_tasks(Shared *s)
{
	bool		any = false;

	for (int i = 0; i < s->ntasks; i++)
	{
		if (s->tasks[i].state != TASK_AGAIN)
			continue;
		ereport(LOG, (errmsg("%s met a deadlock; it is done once more by itself", text_at(s, s->tasks[i].what))));
		s->tasks[i].state = TASK_WAITING;
		any = true;
	}
	memset(s->workers, 0, sizeof(s->workers));
	s->nworkers = s->first = 0;
	return any;
}

void
copy_pool_run(const CopyTask *tasks, int ntasks, int nworkers,
			  void (*tell)(const CopyProgress *progress, void *arg), void *arg)
{
	Pool		pool = {.segment = make_segment(tasks, ntasks)};
	int			n = Min(Min(nworkers, MAX_WORKERS), ntasks);

	pool.shared = dsm_segment_address(pool.segment);
	PG_ENSURE_ERROR_CLEANUP(end_workers, PointerGetDatum(&pool));
	{
		while (n > 0)
		{
			begin_workers(&pool, n);
			wait_for_workers(&pool, tell, arg);
			n = renew_tasks(pool.shared) ? 1 : 0;
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(end_workers, PointerGetDatum(&pool));
	if (pool.shared->done < ntasks)
		ereport(ERROR,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("workers that copy rows were ended: %d of %d tables are copied", pool.shared->done, ntasks)));
	dsm_detach(pool.segment);
}

void
copy_pool_end_old(void)
{
	sql_value(end_old_workers_sql, 0, NULL);
}
