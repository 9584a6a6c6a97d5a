/*
 * local_frontier.c
 *		The frontier of this node: up to where it has the transactions of every node, itself
 *		included.
 *
 * A commit first writes its record, and then moves the progress of its origin. In between it delays
 * checkpoints. So it is enough to wait for those that delay checkpoints, as a checkpoint does, for
 * the progress to cover every record that was written before.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "base/shmem.h"
#include "shared/clock.h"
#include "shared/local_frontier.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"

void
local_wait_for_commits(void)
{
	int			n;
	VirtualTransactionId *commits = GetVirtualXIDsDelayingChkpt(&n, DELAY_CHKPT_START);

	while (n > 0 && HaveVirtualXIDsDelayingChkpt(commits, n, DELAY_CHKPT_START))
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
	}
	pfree(commits);
}

Frontier *
local_frontier(NodeId me)
{
	Frontier   *f = frontier_create();
	TimestampTz horizon;
	XLogRecPtr	end;
	NodeId	   *nodes;
	int			n;

	shmem_require();
	origin_map_ensure_loaded();
	horizon = clock_horizon();	/* first, so that commits after the end of the WAL are later */
	end = GetXLogInsertRecPtr();
	local_wait_for_commits();
	n = origin_map_nodes(&nodes);
	for (int i = 0; i < n; i++)
	{
		/* first, as the timestamp must not be ahead of the position */
		TimestampTz ts = origin_hold_ts(nodes[i]);
		XLogRecPtr	lsn = origin_map_progress(nodes[i]);

		if (lsn != InvalidXLogRecPtr && nodes[i] != me)
			frontier_raise(f, nodes[i], lsn, ts);
	}
	pfree(nodes);
	frontier_raise(f, me, end, horizon);
	return f;
}
