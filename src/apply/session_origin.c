/*
 * session_origin.c
 *		Sets the replication origin under which this process writes and commits.
 *
 * The mark of the origin is set from the first write of a transaction to its end. The replication
 * state of the origin (shared/origin_mark.c) is acquired only before the commit, so that a process
 * that is still applying does not block others. Where an abort needs a state, a link acquires that
 * of the origin at the begin, as it has the hold of the origin. A process that applies kept changes
 * has no hold until the commit; it acquires the state of the origin of repairs instead.
 *
 * The replication state is released together with the hold of the origin (receive/gate.c), not
 * after each commit. While a process has it, the origin cannot be dropped. If it were released
 * after each commit, dropping the origin of a busy link would lose the progress of the commits that
 * followed the moment at which control/guard/origin_guard.c had noted it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/origin.h"

#include "apply/session_origin.h"
#include "base/compat.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

void
session_origin_mark(const WireBegin *begin, bool held)
{
	RepOriginId origin = origin_map_origin(begin->origin);

	Assert(origin != InvalidRepOriginId);
	origin_acquire_for_aborts(held ? origin : origin_map_origin(ORIGIN_NODE_REPAIR));
	origin_mark(origin);
	replorigin_session_origin_timestamp = begin->commit_ts;
}

void
session_origin_unmark(void)
{
	origin_unmark();
}

void
session_origin_take(const WireBegin *begin)
{
	RepOriginId origin = origin_map_origin(begin->origin);

	Assert(replorigin_session_origin == origin);
	Assert(replorigin_session_origin_timestamp == begin->commit_ts);
	origin_acquire(origin);
	origin_commit_at(begin->origin_lsn);
}

void
session_origin_release(void)
{
	origin_unmark();
	origin_give_back();
}
