/*
 * reply.c
 *		Sends the subscriber's position to the provider, also while the worker is busy or waits.
 *
 * While a message takes long to apply, the worker reads nothing but still sends its position
 * (link_beat()), which such a message does not move. It cannot send while the code of one row runs
 * or while it waits for a lock, so the provider is asked to be patient for longer than a row may
 * take (connect.c). If the provider gives up nevertheless, the worker applies what has arrived of
 * the transaction and notices the loss when it reads more.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/fault_point.h"
#include "base/settings.h"
#include "receive/confirmed.h"
#include "receive/feedback.h"
#include "receive/reply.h"
#include "shared/link_status.h"

/* beyond lock_patience: sessions that could be ended for the lock have been ended by then */
#define BEYOND_PATIENCE_MS	5000
/* ... if earlier waits for the same lock have shown that waiting is useless */
#define SOON_MS				500

/* Sends the worker's position. Returns false if it cannot be sent. */
static bool
try_send_status(Link *link, bool ping)
{
	bool		sent;
	StringInfoData buf;
	XLogRecPtr	confirmed = feedback_confirmable(&link->feedback, false);

	if (confirmed > link->stream.noted)
		confirmed_store(link, confirmed, false);
	link->stream.noted = Max(link->stream.noted, confirmed);
	initStringInfo(&buf);
	pq_sendbyte(&buf, 'r');
	pq_sendint64(&buf, link->stream.received);
	pq_sendint64(&buf, confirmed);
	pq_sendint64(&buf, confirmed);
	pq_sendint64(&buf, GetCurrentTimestamp());
	pq_sendbyte(&buf, ping);
	sent = PQputCopyData(link->conn, buf.data, buf.len) >= 0 && PQflush(link->conn) >= 0;
	pfree(buf.data);
	FAULT_POINT("position_confirmed");
	link->stream.sent = confirmed;
	link->stream.status_at = moment_now();
	link_status_set_positions(link->index, link->stream.received,
							  feedback_last_passed(&link->feedback), confirmed,
							  Max(link->stream.provider_end, link->stream.received));
	return sent;
}

void
link_send_status(Link *link, bool ping)
{
	if (!try_send_status(link, ping))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not answer node \"%s\": %s", link->provider_name,
						pchomp(PQerrorMessage(link->conn)))));
}

void
link_beat(Link *link)
{
	if (link->awaits_hold && !link->shows_hold)
	{
		link->shows_hold = true;
		link_status_set_blocked(link->index, link->awaits_hold, link->awaits_lsn);
	}
	if (!link->stream.streaming || link->stream.deaf ||
		!moment_is_past(link->stream.status_at, STATUS_INTERVAL_MS))
		return;
	link->stream.deaf = !try_send_status(link, false);
}

void
link_maybe_send_status(Link *link, bool quiet)
{
	if ((quiet && feedback_confirmable(&link->feedback, false) > link->stream.sent) ||
		moment_is_past(link->stream.status_at, STATUS_INTERVAL_MS))
		link_send_status(link, false);
}

void
link_limit_lock_waits(bool soon)
{
	int64 ms = setting_lock_patience > 0
				   ? Min((int64) setting_lock_patience + BEYOND_PATIENCE_MS, INT_MAX)
				   : 0;

	if (soon && ms > 0)
		ms = SOON_MS;
	SetConfigOption("lock_timeout", psprintf(INT64_FORMAT "ms", ms), PGC_SUSET, PGC_S_OVERRIDE);
}

void
link_serve_interrupts(void)
{
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		link_limit_lock_waits(false);
	}
}

void
link_wait(Link *link, long ms)
{
	int			events;

	if (link->stream.streaming)
	{
		(void) feedback_confirmable(&link->feedback, true);
		link_maybe_send_status(link, true);
	}
	events =
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		link_serve_interrupts();
}
