/*
 * stream.c
 *		Receives a provider's stream and confirms positions until the stream ends.
 *
 * Messages are processed as they are read. Nothing is read ahead of what is applied, so the memory
 * of a link does not grow with the backlog.
 *
 * The position of a keepalive counts as passed, like that of a message, if no transaction is under
 * way and the provider has not said that it holds stubs back: then the provider has sent everything
 * before that position.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/walreceiver.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "apply/image_index.h"
#include "base/moment.h"
#include "base/pulse.h"
#include "receive/asked.h"
#include "receive/clock_probe.h"
#include "receive/confirmed.h"
#include "receive/connect.h"
#include "receive/feedback.h"
#include "receive/gate.h"
#include "receive/link_error.h"
#include "receive/reply.h"
#include "shared/link_status.h"

#define STORE_INTERVAL_MS	5000	/* least time between two stores of the seen vector */
#define FLUSH_DELAY_MS		10		/* quiet time after which the worker flushes WAL itself */

/* ---------- receiving ---------- */

/* Handles a keepalive: notes the provider's position and clock, and answers if asked to. */
static void
stream_keepalive(Link *link, StringInfo m)
{
	XLogRecPtr	end = pq_getmsgint64(m);
	TimestampTz sent_at = pq_getmsgint64(m);
	bool		reply = pq_getmsgbyte(m);

	clock_probe_answered(link, sent_at);
	link->stream.received = Max(link->stream.received, end);
	link->stream.provider_end = Max(link->stream.provider_end, end);
	if (!link_in_transaction(link) && !link->held_back)
		feedback_passed(&link->feedback, end);
	if (reply)
	{
		(void) feedback_confirmable(&link->feedback, true);
		link_send_status(link, false);
	}
}

/* Handles one CopyData message. Returns false if the stream must be restarted. */
static bool
copy_data(Link *link, char *data, int len)
{
	StringInfoData m = {.data = data,.len = len,.maxlen = len};
	XLogRecPtr	start;

	link->stream.heard_at = moment_now();
	link->stream.ping_sent = false;
	switch (pq_getmsgbyte(&m))
	{
		case 'k':
			stream_keepalive(link, &m);
			return true;
		case 'w':
			start = pq_getmsgint64(&m);
			(void) pq_getmsgint64(&m);
			(void) pq_getmsgint64(&m);
			link->stream.received = Max(link->stream.received, start);
			return link_message(link, m.data + m.cursor, m.len - m.cursor);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("node \"%s\" sent a message of unknown type", link->provider_name)));
	}
	return false;
}

/* Raises an error that says why the stream has ended. */
static void
stream_ended(Link *link)
{
	link_error_of_provider(link, PQgetResult(link->conn));
}

/*
 * Raises an error if the provider has been silent too long. Asks for a keepalive after half that
 * time.
 */
static void
check_alive(Link *link)
{
	if (wal_receiver_timeout <= 0)
		return;
	if (moment_is_past(link->stream.heard_at, wal_receiver_timeout))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("node \"%s\" has been silent for %d ms", link->provider_name,
						wal_receiver_timeout)));
	if (!link->stream.ping_sent && moment_is_past(link->stream.heard_at, wal_receiver_timeout / 2))
	{
		link_send_status(link, true);
		link->stream.ping_sent = true;
	}
}

void
link_note_end(Link *link)
{
	if (link->stream.noted != InvalidXLogRecPtr)
		confirmed_store(link, link->stream.noted, true);
	link->stream.noted = InvalidXLogRecPtr; /* once for each stream */
}

/*
 * Returns true if nothing that the provider has sent is unread. A keepalive that it sent while a
 * transaction was applied would be mistaken for the answer to a later question.
 */
static bool
has_read_all(Link *link)
{
	return (WaitLatchOrSocket(NULL, WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							  PQsocket(link->conn), 0, PG_WAIT_EXTENSION) &
			WL_SOCKET_READABLE) == 0;
}

/* Handles an empty socket: confirms, stores the seen vector, and waits for the socket. */
static void
stream_idle(Link *link)
{
	bool		pending;
	int			events;
	bool		current = feedback_last_passed(&link->feedback) >= link->stream.provider_end;

	if (!link_in_transaction(link))
	{
		gate_release(&link->gate);
		(void) pgstat_report_stat(false);
		image_index_tend();
		asked_rest(&link->asked);
		link_status_set_state(link->index, current ? LINK_STREAMING : LINK_CATCHING_UP);
		if (link->seen_changed &&
			moment_is_past(link->stream.stored_at, STORE_INTERVAL_MS))
		{
			link_store_seen(link, feedback_last_passed(&link->feedback));
			link->stream.stored_at = moment_now();
		}
	}
	if (clock_probe_is_due(&link->clock) && has_read_all(link))
	{
		clock_probe_asked(&link->clock);
		link_send_status(link, true);
	}
	link_maybe_send_status(link, true);
	check_alive(link);
	pending = feedback_pending(&link->feedback);
	events = WaitLatchOrSocket(MyLatch,
							   WL_SOCKET_READABLE | WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							   PQsocket(link->conn), pending ? FLUSH_DELAY_MS : STATUS_INTERVAL_MS,
							   PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		link_serve_interrupts();
	if (!pending && (events & WL_TIMEOUT))
		pulse_rest();
	if (pending && (events & WL_TIMEOUT))
		(void) feedback_confirmable(&link->feedback, true);
	if ((events & WL_SOCKET_READABLE) && PQconsumeInput(link->conn) == 0)
		stream_ended(link);
}

/* Calls copy_data() and frees libpq's buffer, also after an error. */
static bool
copy_and_free(Link *link, char *data, int len)
{
	volatile bool go_on = false;

	PG_TRY();
	{
		go_on = copy_data(link, data, len);
	}
	PG_CATCH();
	{
		PQfreemem(data);
		PG_RE_THROW();
	}
	PG_END_TRY();
	PQfreemem(data);
	return go_on;
}

/* Returns true if the manager wants the stream to be restarted and no transaction is under way. */
static bool
restart_wanted(Link *link)
{
	if (link_in_transaction(link) || !link_status_restart_requested(link->index))
		return false;
	link_forget_demands(link);
	return true;
}

/* Reads and processes messages until the stream must be restarted. */
static void
stream_receive(Link *link, MemoryContext message_context)
{
	for (;;)
	{
		char	   *data;
		int			len;
		bool		go_on;

		CHECK_FOR_INTERRUPTS();
		len = PQgetCopyData(link->conn, &data, 1);
		if (len == 0)
		{
			stream_idle(link);
			if (restart_wanted(link))
				return;
			continue;
		}
		if (len < 0)
			stream_ended(link);
		MemoryContextSwitchTo(message_context);
		go_on = copy_and_free(link, data, len);
		MemoryContextReset(message_context);
		link->stream.heard_at = moment_now();	/* the worker did not listen before */
		if (!go_on || restart_wanted(link))
			return;
		link_maybe_send_status(link, false);
	}
}

/* Does the work of link_stream(), with a context for one message at a time. */
static LinkEnd
run_stream(Link *link, MemoryContext message_context)
{
	XLogRecPtr	confirmed;
	LinkMade	made;
	bool		exact;

	memset(&link->stream, 0, sizeof(link->stream));
	made = link_connect(link, &confirmed);
	if (made != LINK_MADE)
		return made == LINK_NO_SLOT ? LINK_END_NO_SLOT : LINK_END_RESTART;
	if (link->seen_stored && confirmed >= link->seen_lsn)
	{
		frontier_merge(link->seen, link->seen_stored);
		link->seen_stored = NULL;
	}
	feedback_start(&link->feedback);
	link->held_back = false;
	link_transaction_reset(link);
	link_wait_for_base(link);
	link_start(link);
	link->stream.noted = Max(confirmed, confirmed_known(link, &exact));
	confirmed_store(link, link->stream.noted, false);
	link_status_set_stream(link->index, link->full_origins, link_full_origins(link),
						   link->stream.protocol);
	link->stream.streaming = true;
	link_status_set_healthy(link->index);
	link_status_set_state(link->index, LINK_CATCHING_UP);
	link->stream.heard_at = link->stream.status_at = link->stream.stored_at = moment_now();
	stream_receive(link, message_context);
	gate_release(&link->gate);
	PQfinish(link->conn);
	link->conn = NULL;
	return LINK_END_RESTART;
}

LinkEnd
link_stream(Link *link)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext message_context =
		AllocSetContextCreate(context, "link message", ALLOCSET_DEFAULT_SIZES);
	LinkEnd		end = run_stream(link, message_context);

	MemoryContextSwitchTo(context);
	MemoryContextDelete(message_context);
	return end;
}
