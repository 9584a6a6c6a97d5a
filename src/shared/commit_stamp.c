/*
 * commit_stamp.c
 *		Gives local commits timestamps of the hybrid logical clock (docs/protocol.md, Clock).
 *
 * Invariant: the commit timestamp of a local transaction, in its commit record and in the commit
 * timestamp data, is greater than that of any transaction that was visible here before it
 * committed. Where the wall clock is ahead of all timestamps seen, PostgreSQL's own timestamp
 * satisfies this, and nothing is changed.
 *
 * Otherwise the commit is marked: PostgreSQL takes a given timestamp into the commit record when
 * the session has an origin, and DoNotReplicateId is an origin that needs no bookkeeping.
 * PostgreSQL then writes the wall clock's time into the commit timestamp data, so this file writes
 * that entry once more right after the commit. A reader that finds DoNotReplicateId there waits for
 * the end of the transaction (row_version.c). After a crash, recovery writes the timestamp of the
 * commit record.
 *
 * COMMIT PREPARED calls no transaction callback. For that command the session takes a replication
 * origin of its own, and PostgreSQL writes the timestamp everywhere by itself. Only one session at
 * a time can do so.
 *
 * Transactions under an origin that is not of a node of the group (of a subscription of PostgreSQL,
 * for example) are local writes to the group. Their timestamp, which is another server's, is
 * replaced where it is not ahead of what was seen here.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/commit_ts.h"
#include "access/slru.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_replication_origin.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/origin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/fault_point.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "shared/clock.h"
#include "shared/commit_stamp.h"
#include "shared/origin_map.h"
#include "shared/wall_clock.h"

/* the wall clock's time when a commit of this process began; 0: none is under way */
static TimestampTz begun_at = 0;
static bool marked = false;		/* ... under DoNotReplicateId */
static TimestampTz stamp = 0;	/* ... with this timestamp; 0: PostgreSQL's own */

/* Returns true if this database is in a group. */
static bool
commit_stamp_is_in_group(void)
{
	return extension_exists() && nodes_local_id() != INVALID_NODE_ID;
}

/* Removes the origin from the session. */
static void
clear_origin(void)
{
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

/* ---------- COMMIT ---------- */

/* Begins a commit under an origin that is not of the group. */
static void
stamp_foreign(void)
{
	TimestampTz ts = clock_begin_commit(replorigin_session_origin_timestamp);

	if (ts != 0)
		replorigin_session_origin_timestamp = ts;
}

/*
 * Notes the timestamp of a transaction of another node. A worker that applies the transaction has
 * raised the clock before the first row. One that skips it has not, and a timestamp too far ahead
 * is not taken.
 */
static void
observe_applied(TimestampTz ts)
{
	if (wall_clock_excess(ts) == 0)
		clock_observe(ts);
}

/*
 * Begins the commit of a transaction under an origin. The timestamp of a node's transaction is
 * kept; that of any other origin is replaced where necessary.
 */
static void
begin_with_origin(void)
{
	NodeId		node;

	if (!commit_stamp_is_in_group())
		return;
	origin_map_ensure_loaded();
	node = origin_map_node(replorigin_session_origin);
	if (node == ORIGIN_NODE_LOCAL)
	{
		stamp_foreign();
		stamp = replorigin_session_origin_timestamp;
		begun_at = GetCurrentTimestamp();
	}
	else if (node > 0)
		observe_applied(replorigin_session_origin_timestamp);
}

/* Called before the commit record is written. May raise errors. */
static void
begin_commit(void)
{
	TimestampTz now;

	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()) || !OidIsValid(MyDatabaseId))
		return;
	Assert(begun_at == 0 && !marked && stamp == 0);
	if (replorigin_session_origin != InvalidRepOriginId)
	{
		begin_with_origin();
		return;
	}
	now = GetCurrentTimestamp();
	stamp = clock_begin_commit(0);
	begun_at = now;
	if (stamp == 0)
		return;
	if (!commit_stamp_is_in_group())
	{
		/* the commit makes no version of a node, and the wall clock may be in doubt */
		clock_end_commit(stamp);
		begun_at = 0;
		stamp = 0;
		return;
	}
	marked = true;
	replorigin_session_origin = DoNotReplicateId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = stamp;
}

/*
 * Returns the number of the commit timestamp file that has a transaction's entry. PostgreSQL does
 * not export this layout.
 */
static int
stamp_segment(TransactionId xid)
{
	const int	entry = sizeof(TimestampTz) + sizeof(RepOriginId);

	return xid / (BLCKSZ / entry) / SLRU_PAGES_PER_SEGMENT;
}

/*
 * Flushes a commit timestamp file to disk. As in PostgreSQL itself, a failure is a PANIC unless
 * data_sync_retry is on.
 */
static void
sync_segment(int segment)
{
	char		path[MAXPGPATH];
	int			fd;

	snprintf(path, sizeof(path), "pg_commit_ts/%04X", segment);
	fd = BasicOpenFile(path, O_RDWR | PG_BINARY);
	if (fd < 0 || pg_fsync(fd) != 0)
		ereport(data_sync_elevel(LOG),
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", path)));
	if (fd >= 0)
		close(fd);
}

/*
 * Makes the rewritten timestamps durable if a checkpoint has begun since the commit record was
 * written. That checkpoint may have written the page before the rewrite, and recovery would begin
 * after the commit record.
 */
static void
secure_stamp(TransactionId xid, int n, const TransactionId *children)
{
	int			last = stamp_segment(xid);

	if (GetRedoRecPtr() < XactLastCommitEnd)
		return;
	CheckPointCommitTs();		/* writes the pages; only the next checkpoint would sync them */
	sync_segment(last);
	for (int i = 0; i < n; i++)
	{
		if (stamp_segment(children[i]) == last)
			continue;
		last = stamp_segment(children[i]);
		sync_segment(last);
	}
}

/*
 * Writes the timestamp of a marked commit into the commit timestamp data. An error here is a PANIC,
 * and recovery then writes the timestamp.
 */
static void
rewrite_stamp(void)
{
	TransactionId *children;
	int			n = xactGetCommittedChildren(&children);

	TransactionTreeSetCommitTsData(GetTopTransactionIdIfAny(), n, children, stamp,
								   InvalidRepOriginId);
	secure_stamp(GetTopTransactionIdIfAny(), n, children);
}

/*
 * Returns the timestamp that PostgreSQL gave to the commit. Warns if the wall clock was set back
 * meanwhile.
 */
static TimestampTz
own_stamp(void)
{
	TimestampTz got = GetCurrentTransactionStopTimestamp();

	if (got < begun_at)
		ereport(WARNING,
				(errmsg("the clock was set back by " INT64_FORMAT " microseconds while transaction %u committed",
						begun_at - got, GetTopTransactionIdIfAny()),
				 errdetail("On other nodes its writes may lose to what they replaced here.")));
	return got;
}

/* Called after the commit or abort, before locks are released. */
static void
end_commit(bool committed)
{
	if (marked)
	{
		Assert(begun_at != 0 && stamp != 0);
		clear_origin();
		if (committed)
		{
			FAULT_POINT("commit_stamp_before");
			rewrite_stamp();
			FAULT_POINT("commit_stamp_after");
		}
	}
	if (begun_at != 0)
		clock_end_commit(!committed ? 0 : stamp ? stamp : own_stamp());
	marked = false;
	begun_at = stamp = 0;
}

static void
commit_stamp_at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			begin_commit();
			break;
		case XACT_EVENT_COMMIT:
			end_commit(true);
			break;
		case XACT_EVENT_ABORT:
			end_commit(false);
			break;
		default:
			break;
	}
}

/* ---------- COMMIT PREPARED ---------- */

/*
 * Gives the session the clock's origin for one command. Another session that wants the origin waits
 * until this transaction ends.
 */
static void
take_origin(TimestampTz ts)
{
	RepOriginId origin;

	origin_map_ensure_loaded();
	origin = origin_map_origin(ORIGIN_NODE_CLOCK);
	if (origin == InvalidRepOriginId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("COMMIT PREPARED needs a timestamp ahead of this server's clock, and the manager of the group has not made the origin for that yet"),
				 errhint("Try again; see replication_plugin.nodes and the log if that does not help.")));
	LockSharedObject(ReplicationOriginRelationId, origin, 0, ShareUpdateExclusiveLock);
	session_setup_origin(origin);
	replorigin_session_origin = origin;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = ts;
}

/* Begins COMMIT PREPARED. Returns true if the session has taken the clock's origin. */
static bool
begin_commit_prepared(void)
{
	TimestampTz ts;

	if (replorigin_session_origin != InvalidRepOriginId)
	{
		if (commit_stamp_is_in_group())
			stamp_foreign();
		return false;
	}
	ts = clock_begin_commit(0);
	if (ts == 0 || !commit_stamp_is_in_group())
		return false;
	take_origin(ts);
	return true;
}

/* Ends COMMIT PREPARED, after success or failure. taken: the session has the clock's origin. */
static void
end_commit_prepared(bool taken)
{
	if (taken)
	{
		clear_origin();
		replorigin_session_reset();
	}
	clock_end_commit(wall_clock_now());
}

/* Runs COMMIT PREPARED with a timestamp of the hybrid logical clock. */
static void
commit_prepared(const UtilityCommand *command)
{
	volatile bool taken = false;

	PG_TRY();
	{
		taken = begin_commit_prepared();
		utility_next(command);
	}
	PG_CATCH();
	{
		end_commit_prepared(taken);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_commit_prepared(taken);
}

/* Utility command hook. */
void
commit_stamp_command(const UtilityCommand *command)
{
	if (utility_is_transaction(command, TRANS_STMT_COMMIT_PREPARED))
		commit_prepared(command);
	else
		utility_next(command);
}

void
commit_stamp_install(void)
{
	RegisterXactCallback(commit_stamp_at_transaction_event, NULL);
}
