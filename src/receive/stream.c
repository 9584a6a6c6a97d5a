/*
 * stream.c
 *		The connection to a provider: handshake, receiving, confirming.
 *
 * Messages are worked on as they are read; nothing is read ahead of what is applied, so
 * the memory of a link does not grow with the backlog.
 *
 * A keepalive's position is passed like a message's, as long as no transaction is under
 * way and the provider has not said that it holds stubs back: then everything before that position
 * has been sent.
 *
 * While a message takes long to apply, nothing is read, but the provider still hears from us (link_beat()): our position, which
 * such a message does not move. It cannot hear while one row's own code runs or a lock is waited for; so the provider is asked
 * to be patient for longer than the first may take. If it has lost its patience nevertheless, what has arrived
 * of the transaction is applied, and the loss is noticed when more is read.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "replication/walreceiver.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "apply/image_index.h"
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/peer.h"
#include "base/pulse.h"
#include "base/settings.h"
#include "catalog/link_status.h"
#include "receive/asked.h"
#include "receive/clock_probe.h"
#include "receive/confirmed.h"
#include "receive/feedback.h"
#include "receive/gate.h"
#include "receive/link.h"
#include "receive/link_error.h"
#include "wire/value.h"

#define STATUS_INTERVAL_MS	1000	/* at least so often the provider hears from us */
#define STORE_INTERVAL_MS	5000	/* at most so often what the provider had seen is stored */
#define SLOT_TRIES			50
#define SLOT_TAKE_TRIES		10		/* after which the walsender of our last stream is ended */
#define SLOT_WAIT_MS		100
#define PATIENCE			3		/* the provider waits for so many row_timeouts at least */
#define UNLIMITED_PATIENCE_MS	3600000	/* ... or so long, where there is no row_timeout */
#define BEYOND_PATIENCE_MS	5000	/* after lock_patience: who could be ended for a lock has been */
#define SOON_MS				500		/* ... if others that have waited for the same have shown that it is no use */
#define FLUSH_DELAY_MS		10		/* quiet time after which we flush instead of the WAL writer */

typedef struct StreamState
{
	char	   *slot;
	XLogRecPtr	received;		/* last position received */
	XLogRecPtr	provider_end;	/* provider's end of WAL as last heard */
	XLogRecPtr	sent;			/* last position confirmed to the provider */
	XLogRecPtr	noted;			/* ... that is stored */
	Moment		status_at;
	Moment		stored_at;
	Moment		heard_at;
	bool		ping_sent;
	bool		streaming;
	bool		deaf;			/* the provider could not be reached by an answer */
} StreamState;

static StreamState stream;

/* True while an error can be the provider's answer to who we are. */
static bool provider_answers = false;

bool
link_provider_answers(void)
{
	return provider_answers;
}

/* ---------- connecting ---------- */

/* Under which name our sessions are seen at the provider. */
static char *
session_name(Link *link)
{
	return psprintf("replication_plugin link to node %d", link->me);
}

/* Runs the handshake. Returns false if there is no slot for us yet. */
static bool
handshake(Link *link)
{
	char	   *sql = psprintf("SELECT node_id, slot_name, encoding, base, incarnation, run_token, run_start, run_row"
							   " FROM replication_plugin.handshake(%s, %d, %d, %s)",
							   quote_literal_cstr(link->group_id), link->me, WIRE_PROTOCOL_VERSION, link->run);
	PGresult   *res;
	bool		made;

	provider_answers = true;
	res = peer_exec(link->conn, sql);
	provider_answers = false;

	if (PQntuples(res) != 1 || atoi(PQgetvalue(res, 0, 0)) != link->provider)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the dsn of node \"%s\" leads to another node", link->provider_name),
				 errhint("Check the dsn in replication_plugin.nodes.")));
	if (strcmp(PQgetvalue(res, 0, 2), GetDatabaseEncodingName()) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("node \"%s\" has encoding %s, this database has %s", link->provider_name,
						PQgetvalue(res, 0, 2), GetDatabaseEncodingName()),
				 errhint("All nodes of a group need the same encoding.")));
	made = !PQgetisnull(res, 0, 1);
	if (made)
	{
		const char *run[4] = {PQgetvalue(res, 0, 4), PQgetvalue(res, 0, 5), PQgetvalue(res, 0, 6), PQgetvalue(res, 0, 7)};

		stream.slot = pstrdup(PQgetvalue(res, 0, 1));
		link->base = PQgetisnull(res, 0, 3) ? NULL : frontier_from_text(PQgetvalue(res, 0, 3));
		link_check_run(link, run);
	}
	PQclear(res);
	return made;
}

/* Reads where the slot stands and where the provider's WAL ends. */
static XLogRecPtr
slot_position(Link *link)
{
	char	   *sql = psprintf("SELECT confirmed_flush_lsn, pg_catalog.pg_current_wal_flush_lsn()"
							   " FROM pg_catalog.pg_replication_slots WHERE slot_name = %s",
							   quote_literal_cstr(stream.slot));
	PGresult   *res = peer_exec(link->conn, sql);
	XLogRecPtr	confirmed = InvalidXLogRecPtr;

	if (PQntuples(res) == 1)
	{
		confirmed = DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(PQgetvalue(res, 0, 0))));
		stream.provider_end = DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(PQgetvalue(res, 0, 1))));
	}
	PQclear(res);
	return confirmed;
}

/*
 * Returns true if the slot is where this subscriber has left it, or before that. Else somebody has moved it, and what it passed over would be lost:
 * has the provider drop it, so that it is made anew from the group slot, which has all that we may lack.
 */
static bool
slot_is_ours(Link *link, XLogRecPtr position)
{
	bool		exact;
	XLogRecPtr	known = confirmed_known(link, &exact);
	char	   *text;

	if (link->joining || link->base || position <= known)
		return true;
	text = psprintf("slot \"%s\" of node \"%s\" is at %X/%X, and only %X/%X was confirmed here%s", stream.slot, link->provider_name,
					LSN_FORMAT_ARGS(position), LSN_FORMAT_ARGS(known), exact ? ": somebody has moved it, or made another one" :
					": somebody has moved it, or this server has crashed");
	PQclear(peer_exec(link->conn, psprintf("SELECT replication_plugin.renew_slot(%d, '%X/%X', '%X/%X')", link->me,
										   LSN_FORMAT_ARGS(position), LSN_FORMAT_ARGS(known))));
	ereport(exact ? WARNING : LOG,
			(errmsg("%s", text),
			 errdetail("It is made anew from the group slot of that node, which has what this one may lack.")));
	if (exact)
		link_status_tell(link->index, psprintf("%s. It is made anew, and nothing is lost", text));
	return false;
}

/* Ends the walsender that our last stream has left behind, which may not have noticed yet. */
static void
end_old_sender(Link *link)
{
	char	   *sql = psprintf("SELECT pg_catalog.pg_terminate_backend(s.active_pid) FROM pg_catalog.pg_replication_slots s"
							   " JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid"
							   " WHERE s.slot_name = %s AND r.application_name = %s",
							   quote_literal_cstr(stream.slot), quote_literal_cstr(session_name(link)));

	PQclear(peer_exec(link->conn, sql));
}

/* After a restart of the stream the walsender of the last one may still have the slot: waits for it a while. */
static void
wait_for_slot(Link *link)
{
	char	   *sql = psprintf("SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND active",
							   quote_literal_cstr(stream.slot));
	bool		active = true;

	for (int i = 0; i < SLOT_TRIES && active; i++)
	{
		PGresult   *res = peer_exec(link->conn, sql);

		active = PQntuples(res) > 0;
		PQclear(res);
		if (active && i == SLOT_TAKE_TRIES)
			end_old_sender(link);
		if (active)
			link_wait(link, SLOT_WAIT_MS);
	}
}

/* Asks the provider not to give us up while a row takes as long as it may (unless it never gives up). */
static void
ask_for_patience(Link *link)
{
	int64		ms = setting_row_timeout > 0 ? (int64) setting_row_timeout * PATIENCE : UNLIMITED_PATIENCE_MS;
	char	   *sql = psprintf("SELECT pg_catalog.set_config('wal_sender_timeout', %d::pg_catalog.text, false)"
							   " FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'"
							   " AND setting::pg_catalog.int4 BETWEEN 1 AND %d",
							   (int) Min(ms, INT_MAX), (int) Min(ms, INT_MAX));

	PQclear(peer_exec(link->conn, sql));
}

/* What the provider is asked to send in full besides its own. */
static char *
full_origins(Link *link)
{
	StringInfoData buf;
	ListCell   *lc;

	if (link->demanded == NIL || strcmp(link->full_origins, "all") == 0)
		return link->full_origins;
	initStringInfo(&buf);
	if (strcmp(link->full_origins, "own") != 0)
		appendStringInfoString(&buf, link->full_origins);
	foreach(lc, link->demanded)
		appendStringInfo(&buf, "%s%d", buf.len ? "," : "", lfirst_int(lc));
	return buf.data;
}

/* Which transactions the provider is asked to leave out, as an option; "" if there are none. */
static char *
skip_option(Link *link)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, link->skip)
		appendStringInfo(&buf, "%s%X/%X", buf.len ? "," : ", skip '", LSN_FORMAT_ARGS(*(XLogRecPtr *) lfirst(lc)));
	if (buf.len > 0)
		appendStringInfoChar(&buf, '\'');
	return buf.data;
}

/* Starts streaming from the slot's confirmed position. */
static void
start(Link *link)
{
	char	   *sql = psprintf("START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (protocol '%d', node_id '%d', "
							   "group_id '%s', full_origins '%s', layout '%s', encoding '%s'%s)",
							   stream.slot, WIRE_PROTOCOL_VERSION, link->me, link->group_id,
							   full_origins(link), value_layout(), GetDatabaseEncodingName(), skip_option(link));
	PGresult   *res = peer_exec(link->conn, sql);

	if (PQresultStatus(res) != PGRES_COPY_BOTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("node \"%s\" did not start to stream", link->provider_name)));
	PQclear(res);
	/* an answer must not wait for a provider that does not read it */
	if (PQsetnonblocking(link->conn, 1) != 0)
		elog(ERROR, "could not make the connection non-blocking");
}

/* ---------- talking back ---------- */

/* Sends our position. Returns false if it cannot be sent. */
static bool
try_send_status(Link *link, bool ping)
{
	bool		sent;
	StringInfoData buf;
	XLogRecPtr	confirmed = feedback_confirmable(false);

	if (confirmed > stream.noted)
		confirmed_store(link, confirmed, false);
	stream.noted = Max(stream.noted, confirmed);
	initStringInfo(&buf);
	pq_sendbyte(&buf, 'r');
	pq_sendint64(&buf, stream.received);
	pq_sendint64(&buf, confirmed);
	pq_sendint64(&buf, confirmed);
	pq_sendint64(&buf, GetCurrentTimestamp());
	pq_sendbyte(&buf, ping);
	sent = PQputCopyData(link->conn, buf.data, buf.len) >= 0 && PQflush(link->conn) >= 0;
	pfree(buf.data);
	FAULT_POINT("position_confirmed");
	stream.sent = confirmed;
	stream.status_at = moment_now();
	link_status_set_positions(link->index, stream.received, feedback_last_passed(), confirmed,
							  Max(stream.provider_end, stream.received));
	return sent;
}

/* Sends our position. */
static void
send_status(Link *link, bool ping)
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
	if (!stream.streaming || stream.deaf || !moment_is_past(stream.status_at, STATUS_INTERVAL_MS))
		return;
	stream.deaf = !try_send_status(link, false);
}

/* Sends our position if it is time, or if there is something new to confirm at a quiet moment. */
static void
maybe_send_status(Link *link, bool quiet)
{
	if ((quiet && feedback_confirmable(false) > stream.sent) ||
		moment_is_past(stream.status_at, STATUS_INTERVAL_MS))
		send_status(link, false);
}

/* ---------- receiving ---------- */

/* The provider is alive and says where it is. */
static void
keepalive(Link *link, StringInfo m)
{
	XLogRecPtr	end = pq_getmsgint64(m);
	TimestampTz sent_at = pq_getmsgint64(m);
	bool		reply = pq_getmsgbyte(m);

	clock_probe_answered(link, sent_at);
	stream.received = Max(stream.received, end);
	stream.provider_end = Max(stream.provider_end, end);
	if (!link_in_transaction() && !link->held_back)
		feedback_passed(end);
	if (reply)
	{
		(void) feedback_confirmable(true);
		send_status(link, false);
	}
}

/* One CopyData message. Returns false if the stream is to be restarted. */
static bool
copy_data(Link *link, char *data, int len)
{
	StringInfoData m = {.data = data,.len = len,.maxlen = len};
	XLogRecPtr	start;

	stream.heard_at = moment_now();
	stream.ping_sent = false;
	switch (pq_getmsgbyte(&m))
	{
		case 'k':
			keepalive(link, &m);
			return true;
		case 'w':
			start = pq_getmsgint64(&m);
			(void) pq_getmsgint64(&m);
			(void) pq_getmsgint64(&m);
			stream.received = Max(stream.received, start);
			return link_message(link, m.data + m.cursor, m.len - m.cursor);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("node \"%s\" sent a message of unknown type", link->provider_name)));
	}
	return false;
}

/* The stream has ended: says why. */
static void
stream_ended(Link *link)
{
	link_error_of_provider(link, PQgetResult(link->conn));
}

/* Complains if the provider has been silent too long; asks for a sign of life before. */
static void
check_alive(Link *link)
{
	if (wal_receiver_timeout <= 0)
		return;
	if (moment_is_past(stream.heard_at, wal_receiver_timeout))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("node \"%s\" has been silent for %d ms", link->provider_name,
						wal_receiver_timeout)));
	if (!stream.ping_sent && moment_is_past(stream.heard_at, wal_receiver_timeout / 2))
	{
		send_status(link, true);
		stream.ping_sent = true;
	}
}

void
link_limit_lock_waits(bool soon)
{
	int64		ms = setting_lock_patience > 0 ? Min((int64) setting_lock_patience + BEYOND_PATIENCE_MS, INT_MAX) : 0;

	if (soon && ms > 0)
		ms = SOON_MS;
	SetConfigOption("lock_timeout", psprintf(INT64_FORMAT "ms", ms), PGC_SUSET, PGC_S_OVERRIDE);
}

/* Serves signals between messages. */
static void
serve_interrupts(void)
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
link_note_end(Link *link)
{
	if (stream.noted != InvalidXLogRecPtr)
		confirmed_store(link, stream.noted, true);
}

/* True if the provider has sent nothing that is unread: what it said while a transaction was applied would be taken for the answer to a question. */
static bool
has_read_all(Link *link)
{
	return (WaitLatchOrSocket(NULL, WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PQsocket(link->conn), 0, PG_WAIT_EXTENSION) &
			WL_SOCKET_READABLE) == 0;
}

/* Nothing to read: confirm, store, wait for the socket. */
static void
idle(Link *link)
{
	bool		pending;
	int			events;
	bool		current = feedback_last_passed() >= stream.provider_end;

	if (!link_in_transaction())
	{
		gate_release();
		(void) pgstat_report_stat(false);
		image_index_tend();
		asked_rest();
		link_status_set_state(link->index, current ? LINK_STREAMING : LINK_CATCHING_UP);
		if (link->seen_changed &&
			moment_is_past(stream.stored_at, STORE_INTERVAL_MS))
		{
			link_store_seen(link, feedback_last_passed());
			stream.stored_at = moment_now();
		}
	}
	if (clock_probe_is_due() && has_read_all(link))
	{
		clock_probe_asked();
		send_status(link, true);
	}
	maybe_send_status(link, true);
	check_alive(link);
	pending = feedback_pending();
	events = WaitLatchOrSocket(MyLatch, WL_SOCKET_READABLE | WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							   PQsocket(link->conn), pending ? FLUSH_DELAY_MS : STATUS_INTERVAL_MS,
							   PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		serve_interrupts();
	if (!pending && (events & WL_TIMEOUT))
		pulse_rest();
	if (pending && (events & WL_TIMEOUT))
		(void) feedback_confirmable(true);
	if ((events & WL_SOCKET_READABLE) && PQconsumeInput(link->conn) == 0)
		stream_ended(link);
}

/* The same; libpq gets its memory back in any case. */
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

/* True if the manager wants the stream to begin anew, and nothing is under way. */
static bool
restart_wanted(Link *link)
{
	if (link_in_transaction() || !link_status_restart_requested(link->index))
		return false;
	link_forget_demands(link);
	return true;
}

/* Reads and works until the stream is to be restarted. */
static void
receive(Link *link, MemoryContext message_context)
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
			idle(link);
			if (restart_wanted(link))
				return;
			continue;
		}
		if (len < 0)
			stream_ended(link);
		MemoryContextSwitchTo(message_context);
		go_on = copy_and_free(link, data, len);
		MemoryContextReset(message_context);
		stream.heard_at = moment_now();	/* before, nobody listened */
		if (!go_on || restart_wanted(link))
			return;
		maybe_send_status(link, false);
	}
}

void
link_wait(Link *link, long ms)
{
	int			events;

	if (stream.streaming)
	{
		(void) feedback_confirmable(true);
		maybe_send_status(link, true);
	}
	events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		serve_interrupts();
}

LinkEnd
link_stream(Link *link)
{
	MemoryContext message_context = AllocSetContextCreate(CurrentMemoryContext, "link message",
														  ALLOCSET_DEFAULT_SIZES);
	XLogRecPtr	confirmed;
	bool		exact;

	memset(&stream, 0, sizeof(stream));
	link_status_set_state(link->index, LINK_CONNECTING);
	link->conn = peer_connect(link->provider_dsn, PEER_REPLICATION, session_name(link));
	clock_probe_first(link);
	if (!handshake(link))
	{
		PQfinish(link->conn);
		link->conn = NULL;
		return LINK_END_NO_SLOT;
	}
	wait_for_slot(link);
	confirmed = slot_position(link);
	if (!slot_is_ours(link, confirmed))
	{
		PQfinish(link->conn);
		link->conn = NULL;
		return LINK_END_RESTART;
	}
	if (link->seen_stored && confirmed >= link->seen_lsn)
	{
		frontier_merge(link->seen, link->seen_stored);
		link->seen_stored = NULL;
	}
	feedback_start();
	link->held_back = false;
	link_transaction_reset();
	link_wait_for_base(link);
	ask_for_patience(link);
	start(link);
	stream.noted = Max(confirmed, confirmed_known(link, &exact));
	confirmed_store(link, stream.noted, false);
	link_status_set_origins(link->index, link->full_origins, full_origins(link));
	stream.streaming = true;
	link_status_set_healthy(link->index);
	link_status_set_state(link->index, LINK_CATCHING_UP);
	stream.heard_at = stream.status_at = stream.stored_at = moment_now();
	receive(link, message_context);
	gate_release();
	PQfinish(link->conn);
	link->conn = NULL;
	return LINK_END_RESTART;
}
