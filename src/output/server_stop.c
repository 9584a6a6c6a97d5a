/*
 * server_stop.c
 *		Ends a walsender of the native stream during a server shutdown, if its subscriber makes no
 *		progress for some seconds.
 *
 * A server that is being stopped waits until its walsenders have sent everything and their
 * subscribers have confirmed it. A subscriber whose link is blocked, by a lock or by an error that
 * is retried, would never confirm it, and "pg_ctl stop -m fast" would not finish. Because nothing
 * is lost when such a stream is cut, it is cut, unless the subscriber keeps confirming: then it
 * gets everything first.
 *
 * PostgreSQL does not notify an output plugin of a shutdown. The indication is that the launcher is
 * gone: it ends at once, together with the other background workers, and if the server continues it
 * restarts within a second or two.
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
#define PATIENCE_MS		5000	/* time that a subscriber has during a shutdown */

#define NOT_GONE		0
#define NEVER_SEEN		(-1)

static TimeoutId timer;			/* below USER_TIMEOUT: not registered yet */

/*
 * Since when the launcher is gone, or since the subscriber last confirmed something after that. If
 * no launcher has run, its absence indicates nothing.
 */
static Moment gone_since = NOT_GONE;
static XLogRecPtr confirmed = InvalidXLogRecPtr;

/*
 * Timeout handler: checks for the launcher, and ends this process if the launcher has been gone for
 * too long.
 */
static void
server_stop_tick(void)
{
	if (!MyProc || proc_exit_inprogress)
		return;
	if (manager_status_has_launcher())
		gone_since = NOT_GONE;
	else if (gone_since == NEVER_SEEN)
		return;
	else if (gone_since == NOT_GONE || MyWalSnd->flush != confirmed)
	{
		/* only this process writes it, so the value is not torn */
		confirmed = MyWalSnd->flush;
		gone_since = moment_now();
	}
	else if (moment_is_past(gone_since, PATIENCE_MS))
	{
		whereToSendOutput = DestNone;	/* the client may not be reading */
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
	if (timer < USER_TIMEOUT)
		timer = RegisterTimeout(USER_TIMEOUT, server_stop_tick);
	gone_since = manager_status_has_launcher() ? NOT_GONE : NEVER_SEEN;
	enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TICK_MS),
						 TICK_MS);
}

void
server_stop_forget(void)
{
	if (timer >= USER_TIMEOUT && get_timeout_active(timer))
		disable_timeout(timer, false);
}
