/*
 * session_origin.c
 *		Under which origin this process writes, and commits.
 *
 * PostgreSQL keeps two things of an origin, both once in a process. The mark (replorigin_session_origin with a position and a timestamp) is what
 * WAL records get, and what hooks look at: so it is set while a transaction is applied, from its first write on. The place for
 * progress, which one process at a time can take, is moved by the commit record. So it is taken right before the commit,
 * and what is applied meanwhile keeps it from nobody.
 *
 * It is given back with the hold of the origin, and not after each commit: as long as a process has it, nobody can drop the origin, and so
 * the progress between two commits of a busy link is not lost to who tries (control/guard/origin_guard.c).
 *
 * A marked transaction that aborts moves nothing, as of PostgreSQL 15. Later versions move the progress in an abort as well: there the mark
 * has to go before.
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

	Assert(IsTransactionState());	/* an error of taking it releases its lock with the transaction */
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
