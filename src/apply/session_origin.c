/*
 * session_origin.c
 *		Under which origin this process writes, and commits.
 *
 * PostgreSQL keeps two things of an origin, both once in a process. The mark is
 * replorigin_session_origin with a position and a timestamp. WAL records get it, and hooks look at
 * it: so it is set from the first write of a transaction to its end. The place for progress is
 * what the commit record moves, and one process at a time can take it. It is taken only before the
 * commit, so that a process that is still applying keeps it from nobody.
 *
 * The place is given back with the hold of the origin (receive/gate.c), and not after each commit.
 * While a process has the place, nobody can drop the origin. If it were given back after each
 * commit, whoever drops the origin of a busy link would take away the progress of the commits
 * that came after control/guard/origin_guard.c had noted it.
 *
 * A marked transaction that aborts moves no progress in PostgreSQL 15. Later versions move it in an
 * abort as well; there the mark has to be cleared before the abort.
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/origin.h"

#include "apply/session_origin.h"
#include "shared/origin_map.h"

/* The origin whose place this process has taken: of the process, as it is in PostgreSQL. */
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

/* Gives back what was taken. */
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

	/* an error of taking it releases its lock with the transaction */
	Assert(IsTransactionState());
	Assert(replorigin_session_origin == origin && replorigin_session_origin_lsn == begin->origin_lsn);
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
