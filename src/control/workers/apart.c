/*
 * apart.c
 *		Runs a statement in a transaction of its own, in a command worker.
 *
 * The statement and its result are in a segment of shared memory that the caller creates and that
 * both processes have attached. If the caller ends, the statement still runs to its end. The worker
 * has the rights of the extension's own processes, so the statement must be one of the extension.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/own_transaction.h"
#include "control/workers/apart.h"
#include "control/workers/error_text.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"

/* The segment. The caller reads it after the worker has ended. */
typedef struct Request
{
	Oid			database;
	bool		done;
	ErrorText	error;
	char		sql[FLEXIBLE_ARRAY_MEMBER];
} Request;

void
run_apart(const char *sql)
{
	dsm_segment *segment = dsm_create(offsetof(Request, sql) + strlen(sql) + 1, 0);
	Request    *r = dsm_segment_address(segment);
	BackgroundWorkerHandle *worker;

	r->database = MyDatabaseId;
	r->done = false;
	r->error.sqlstate = 0;
	strcpy(r->sql, sql);
	worker = worker_start("replication_plugin_apart_main", "replication_plugin command",
						  UInt32GetDatum(dsm_segment_handle(segment)));
	if (!worker)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("there is no free background worker"),
				 errhint("Raise max_worker_processes and restart the server.")));
	if (WaitForBackgroundWorkerShutdown(worker) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("postmaster has died")));
	if (!r->done)
	{
		if (r->error.sqlstate)
			error_text_raise(&r->error, NULL);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the background worker of a command has ended before its time"),
				 errhint("The log of the server says why. Try again.")));
	}
	dsm_detach(segment);
}

/* Runs the statement in a transaction. */
static void
apart_run(const char *sql)
{
	OwnTransaction t = sql_transaction_begin();

	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "statement failed: %s", sql);
	SPI_finish();
	own_transaction_end(&t);
}

void
replication_plugin_apart_main(Datum handle)
{
	dsm_segment *segment = dsm_attach(DatumGetUInt32(handle));
	Request    *r = segment ? dsm_segment_address(segment) : NULL;
	MemoryContext context;

	if (!r)
		proc_exit(0);			/* the caller has ended */
	worker_setup(r->database);
	context = AllocSetContextCreate(TopMemoryContext, "command", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		apart_run(r->sql);
		r->done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error_text_take(&r->error);
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	proc_exit(0);
}
