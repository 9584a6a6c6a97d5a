/*
 * local_frontier.c
 *		How far this node has everybody's transactions, itself included.
 *
 * A commit first writes its record, then moves its origin's progress. In between it holds
 * checkpoints back; so waiting for those who do, as a checkpoint does, is enough for the
 * progress to cover every record that was there before.
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
	horizon = clock_horizon();	/* first: what comes behind the end is later */
	end = GetXLogInsertRecPtr();
	local_wait_for_commits();
	n = origin_map_nodes(&nodes);
	for (int i = 0; i < n; i++)
	{
		/* first: it must not be ahead of the position */
		TimestampTz ts = origin_hold_ts(nodes[i]);
		XLogRecPtr	lsn = origin_map_progress(nodes[i]);

		if (lsn != InvalidXLogRecPtr && nodes[i] != me)
			frontier_raise(f, nodes[i], lsn, ts);
	}
	pfree(nodes);
	frontier_raise(f, me, end, horizon);
	return f;
}
