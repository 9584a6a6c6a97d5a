/*
 * origin_mark.c
 *		Marks what this process writes as of a replication origin, and acquires origins.
 *
 * PostgreSQL has two kinds of state for an origin, each once per process. The mark is
 * replorigin_session_origin, with a position and a timestamp. WAL records contain the mark and
 * hooks examine it. The replication state is what the commit record advances to the position, and
 * only one process at a time can acquire it.
 *
 * Since PostgreSQL 16, the record of an abort advances the state as well, if the process is marked;
 * that of a subtransaction too. If the position were set then, the transaction would count as
 * applied, and would be lost. If no state were acquired, the server would crash. Therefore, on all
 * versions:
 *
 * - the position is set right before the commit record is written, when deferred triggers have run;
 * - whoever aborts a transaction removes the mark before (origin_abort_transaction()), and so does
 *   a process that ends;
 * - while code runs that may roll back subtransactions, such as that of a trigger with an exception
 *   block, some state is acquired. Without a position it is not advanced, so it need not be that of
 *   the mark.
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/origin.h"
#include "storage/ipc.h"

#include "shared/origin_mark.h"

/* All of these are per process, as in PostgreSQL. */
static bool registered = false; /* at_exit() */
static RepOriginId acquired = InvalidRepOriginId;
static XLogRecPtr committing = InvalidXLogRecPtr;	/* where the commit moves the acquired origin */

/* Sets the position when nothing can roll back a subtransaction any more. */
static void
origin_mark_at_transaction_event(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT || committing == InvalidXLogRecPtr)
		return;
	Assert(replorigin_session_origin == acquired && acquired != InvalidRepOriginId);
	replorigin_session_origin_lsn = committing;
}

/* Called when the process ends, before PostgreSQL aborts its transaction. */
static void
at_exit(int code, Datum arg)
{
	origin_unmark();
}

void
origin_mark_install(void)
{
	RegisterXactCallback(origin_mark_at_transaction_event, NULL);
}

void
origin_mark(RepOriginId origin)
{
	if (origin != InvalidRepOriginId && !registered)
	{
		before_shmem_exit(at_exit, (Datum) 0);
		registered = true;
	}
	Assert(replorigin_session_origin_lsn == InvalidXLogRecPtr);
	replorigin_session_origin = origin;
}

void
origin_unmark(void)
{
	committing = InvalidXLogRecPtr;
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

void
origin_abort_transaction(void)
{
	origin_unmark();
	AbortOutOfAnyTransaction();
}

void
origin_acquire(RepOriginId origin)
{
	/* if this raises an error, the end of the transaction releases PostgreSQL's lock */
	Assert(IsTransactionState() && origin != InvalidRepOriginId);
	if (acquired == origin)
		return;
	origin_give_back();
	session_setup_origin(origin);
	acquired = origin;
}

void
origin_give_back(void)
{
	if (acquired != InvalidRepOriginId)
		replorigin_session_reset();
	acquired = InvalidRepOriginId;
}

void
origin_acquire_for_aborts(RepOriginId origin)
{
	if (ABORT_ADVANCES_ORIGIN && acquired == InvalidRepOriginId)
		origin_acquire(origin);
}

void
origin_commit_at(XLogRecPtr lsn)
{
	Assert(replorigin_session_origin == acquired && acquired != InvalidRepOriginId);
	committing = lsn;
}
