/*
 * lost_timestamps.c
 *		Whether commit timestamps, the versions of rows, are gone that can still be needed.
 *
 * PostgreSQL forgets them when it is started without track_commit_timestamp (we keep it from that
 * as long as we are loaded: shared/requirement.c). A row without a timestamp has the oldest
 * version. That is right for what all members have, as nothing that is concurrent with it can still
 * arrive; of anything newer a write that arrives would be taken for newer here, and for older
 * elsewhere, in silence.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/transam.h"
#include "storage/lwlock.h"

#include "base/full_xid.h"
#include "control/group/lost_timestamps.h"
#include "control/workers/sql.h"

/* The oldest transaction whose commit timestamp there is. */
static uint64
oldest_timestamp(void)
{
	TransactionId oldest;

	LWLockAcquire(CommitTsLock, LW_SHARED);
	oldest = ShmemVariableCache->oldestCommitTsXid;
	LWLockRelease(CommitTsLock);
	return full_xid_of(oldest);
}

bool
timestamps_are_lost(void)
{
	const char *params[1] = {psprintf(UINT64_FORMAT, oldest_timestamp())};
	char	   *lost = sql_value("SELECT $1::bigint > greatest(p.stable_xid, l.since_xid)"
								 "  AND (l.state LIKE 'joining%' OR EXISTS (SELECT FROM replication_plugin.node n"
								 "   WHERE n.node_id <> l.node_id AND n.state <> 'removed'))"
								 " FROM replication_plugin.local_node l LEFT JOIN replication_plugin.stable_point p ON true", 1, params);

	return lost && lost[0] == 't';
}
