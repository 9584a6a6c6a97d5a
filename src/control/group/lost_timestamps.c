/*
 * lost_timestamps.c
 *		Checks whether commit timestamps are lost that are still needed as versions of rows.
 *
 * PostgreSQL forgets commit timestamps when it is started without track_commit_timestamp (the
 * extension prevents that while it is loaded: shared/requirement.c). A row without a timestamp has
 * the oldest version. That is right for what all members have, as nothing that is concurrent with
 * it can still arrive. With anything newer, an arriving write would silently count as newer on this
 * node, and as older elsewhere.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/transam.h"
#include "storage/lwlock.h"

#include "base/compat.h"
#include "base/full_xid.h"
#include "control/group/lost_timestamps.h"
#include "control/workers/sql.h"

static const char timestamps_are_lost_sql[] =
	"SELECT $1::bigint > greatest(p.stable_xid, l.since_xid)"
	"  AND (l.state LIKE 'joining%' OR EXISTS (SELECT FROM replication_plugin.node n"
	"   WHERE n.node_id <> l.node_id AND n.state <> 'removed'))"
	" FROM replication_plugin.local_node l LEFT JOIN replication_plugin.stable_point p ON true";

/* Returns the oldest transaction that has a commit timestamp. */
static uint64
oldest_timestamp(void)
{
	TransactionId oldest;

	LWLockAcquire(CommitTsLock, LW_SHARED);
	oldest = oldest_commit_ts_xid();
	LWLockRelease(CommitTsLock);
	return full_xid_of(oldest);
}

bool
timestamps_are_lost(void)
{
	const char *params[1] = {psprintf(UINT64_FORMAT, oldest_timestamp())};
	char	   *lost = sql_value(timestamps_are_lost_sql, 1, params);

	return lost && lost[0] == 't';
}
