/*
 * session_origin.c
 *		Sets the replication origin under which this process writes and commits.
 *
 * PostgreSQL has two kinds of state for an origin, each once per process. The mark is
 * replorigin_session_origin, with a position and a timestamp. WAL records contain the mark and
 * hooks examine it, so it is set from the first write of a transaction to its end. The replication
 * state is what the commit record advances, and only one process at a time can acquire it. It is
 * acquired only before the commit, so that a process that is still applying does not block others.
 *
 * The replication state is released together with the hold of the origin (receive/gate.c), not
 * after each commit. While a process has it, the origin cannot be dropped. If it were released
 * after each commit, dropping the origin of a busy link would lose the progress of the commits that
 * followed the moment at which control/guard/origin_guard.c had noted it.
 *
 * In PostgreSQL 15, aborting a marked transaction advances no progress. Later versions advance it
 * in an abort as well; there the mark must be cleared before the abort.
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/origin.h"

#include "apply/session_origin.h"
#include "shared/origin_map.h"

/* The origin whose replication state this process has acquired; per process, as in PostgreSQL. */
static RepOriginId taken = InvalidRepOriginId;

void
session_origin_mark(const WireBegin *begin)
{
	replorigin_session_origin = origin_map_origin(begin->origin);
	Assert(replorigin_session_origin != InvalidRepOriginId);
	replorigin_session_origin_lsn = begin->origin_lsn;
	replorigin_session_origin_timestamp = begin->commit_ts;
}

void
session_origin_unmark(void)
{
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

/* Releases the replication state, if it is acquired. */
static void
give_back(void)
{
	if (taken != InvalidRepOriginId)
		replorigin_session_reset();
	taken = InvalidRepOriginId;
}

void
session_origin_take(const WireBegin *begin)
{
	RepOriginId origin = origin_map_origin(begin->origin);

	/* if taking it raises an error, the end of the transaction releases the lock */
	Assert(IsTransactionState());
	Assert(replorigin_session_origin == origin &&
		   replorigin_session_origin_lsn == begin->origin_lsn);
	Assert(replorigin_session_origin_timestamp == begin->commit_ts);
	if (taken == origin)
		return;
	give_back();
	replorigin_session_setup(origin);
	taken = origin;
}

void
session_origin_release(void)
{
	session_origin_unmark();
	give_back();
}
