/*
 * server_stop.c
 *		A walsender of ours while its server is being stopped: it waits for some seconds for a
 *		subscriber that makes no progress, and no longer.
 *
 * PostgreSQL lets a server that is being stopped wait until its walsenders have sent everything,
 * and their subscribers have confirmed it. A subscriber whose link is held up, by a lock or an
 * error that is tried again, would never do; then "pg_ctl stop -m fast" would not end. As nothing
 * is lost when such a stream is cut, it is cut, unless the subscriber goes on confirming: then it
 * gets everything first.
 *
 * PostgreSQL tells an output plugin nothing of a stop, so what tells is that our launcher is gone:
 * it is ended at once with the other background workers, and comes back within a second or two
 * where the server goes on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "output/server_stop.h"
#include "shared/manager_status.h"

#define TICK_MS			1000
#define PATIENCE_MS		5000	/* with a subscriber, while the server is being stopped */

static TimeoutId timer;
static bool registered = false;
static bool ticking = false;
static bool launcher_seen = false;	/* where none has run nothing can be told from it */
static Moment gone_since = 0;	/* or since the subscriber confirmed something after that */
static XLogRecPtr confirmed = InvalidXLogRecPtr;

/*
 * The timer's handler: looks for the launcher, and ends this process when it has been away for too
 * long.
 */
static void
tick(void)
{
	if (!MyProc || proc_exit_inprogress)
		return;
	if (manager_status_has_launcher())
	{
		launcher_seen = true;
		gone_since = 0;
	}
	else if (gone_since == 0 || MyWalSnd->flush != confirmed)
	{
		/* only this process writes it, so it is whole */
		confirmed = MyWalSnd->flush;
		gone_since = moment_now();
	}
	else if (launcher_seen && moment_is_past(gone_since, PATIENCE_MS))
	{
		whereToSendOutput = DestNone;	/* nobody may be reading */
		ProcDiePending = true;
		InterruptPending = true;
		SetLatch(MyLatch);
	}
}

void
server_stop_watch(void)
{
	if (!am_walsender)
		return;
	if (!registered)
		timer = RegisterTimeout(USER_TIMEOUT, tick);
	registered = true;
	launcher_seen = manager_status_has_launcher();
	gone_since = 0;
	enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TICK_MS), TICK_MS);
	ticking = true;
}

void
server_stop_forget(void)
{
	if (ticking)
		disable_timeout(timer, false);
	ticking = false;
}
