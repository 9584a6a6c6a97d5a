/*
 * peer.c
 *		libpq connections from a backend or worker of this server to another node (or to this
 *		one), with interruptible waits.
 *
 * Ownership: connections and results belong to the caller, which ends them with PQfinish() and
 * PQclear(). Those that were made inside a (sub)transaction that aborts are ended here, so code
 * between two calls may raise errors freely. Those that a committed transaction leaves open, or
 * that were made outside of one, live until their owner ends them or the process exits. libpq's
 * events tell this file when the owner has ended one, so nothing is ended twice.
 *
 * Secrets: a connection string gets into a message only through dsn_without_secrets(). Of a
 * statement only its beginning does, without any value. Where a statement has a secret in it, the
 * other server is first told to log nothing (hide_secrets()).
 */
#include "postgres.h"

#include "libpq-events.h"

#include "access/xact.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/dsn.h"
#include "base/moment.h"
#include "base/own_worker.h"
#include "base/peer.h"
#include "base/pulse.h"
#include "base/session.h"

#define DEFAULT_CONNECT_TIMEOUT_S	10
#define SILENCE_MS	5000	/* after which a peer that does not answer is reported */

/* An open connection or result, and the subtransaction that made it. */
typedef struct Tracked
{
	dlist_node	node;
	/* InvalidSubTransactionId: made outside, or its transaction committed */
	SubTransactionId subxid;
	PGconn	   *conn;			/* one of the two is set */
	PGresult   *result;
} Tracked;

static dlist_head tracked = DLIST_STATIC_INIT(tracked);

/*
 * Ends what subtransaction subxid made, or, if subxid is invalid, everything made in the
 * transaction.
 */
static void
close_tracked(SubTransactionId subxid)
{
	/* ending a connection or result unlinks its own entry only */
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &tracked)
	{
		Tracked    *t = dlist_container(Tracked, node, iter.cur);

		if (t->subxid == InvalidSubTransactionId ||
			(subxid != InvalidSubTransactionId && t->subxid != subxid))
			continue;
		if (t->result)
			PQclear(t->result);
		else
			PQfinish(t->conn);
	}
}

/*
 * Moves what subtransaction "from" made to subtransaction "to". As "from", InvalidSubTransactionId
 * means all subtransactions; as "to", it means none.
 */
static void
adopt_tracked(SubTransactionId from, SubTransactionId to)
{
	dlist_iter	iter;

	dlist_foreach(iter, &tracked)
	{
		Tracked    *t = dlist_container(Tracked, node, iter.cur);

		if (t->subxid != InvalidSubTransactionId &&
			(from == InvalidSubTransactionId || t->subxid == from))
			t->subxid = to;
	}
}

/* Transaction callback: keeps what was made in the transaction on commit, ends it on abort. */
static void
tracked_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PREPARE:
			adopt_tracked(InvalidSubTransactionId, InvalidSubTransactionId);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			close_tracked(InvalidSubTransactionId);
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}

/* Subtransaction callback: moves what was made to the parent on commit, ends it on abort. */
static void
tracked_subxact_callback(SubXactEvent event, SubTransactionId mine,
						 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		adopt_tracked(mine, parent);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		close_tracked(mine);
}

/*
 * Begins to track a connection or result. Returns NULL if out of memory. Called inside libpq, so it
 * must not raise errors.
 */
static Tracked *
peer_track(PGconn *conn, PGresult *result)
{
	Tracked    *t = malloc(sizeof(Tracked));

	if (t == NULL)
		return NULL;
	t->subxid = IsTransactionState() ? GetCurrentSubTransactionId() : InvalidSubTransactionId;
	t->conn = conn;
	t->result = result;
	dlist_push_head(&tracked, &t->node);
	return t;
}

/* Stops tracking something that is being ended. */
static void
peer_untrack(Tracked *t)
{
	if (t == NULL)
		return;
	dlist_delete(&t->node);
	free(t);
}

/* libpq event procedure: follows the life of connections and results. */
static int
track_events(PGEventId event, void *info, void *pass_through)
{
	switch (event)
	{
		case PGEVT_REGISTER:
			{
				PGconn	   *conn = ((PGEventRegister *) info)->conn;
				Tracked    *t = peer_track(conn, NULL);

				return t != NULL && PQsetInstanceData(conn, track_events, t);
			}
		case PGEVT_CONNDESTROY:
			peer_untrack(PQinstanceData(((PGEventConnDestroy *) info)->conn, track_events));
			ReleaseExternalFD();
			return 1;
		case PGEVT_RESULTCREATE:
			{
				PGresult   *result = ((PGEventResultCreate *) info)->result;
				Tracked    *t = peer_track(NULL, result);

				return t != NULL && PQresultSetInstanceData(result, track_events, t);
			}
		case PGEVT_RESULTDESTROY:
			peer_untrack(
				PQresultInstanceData(((PGEventResultDestroy *) info)->result, track_events));
			return 1;
		case PGEVT_RESULTCOPY:
		case PGEVT_CONNRESET:
			return 1;
	}
	return 1;
}

void
peer_keep(PGconn *conn)
{
	Tracked    *t = PQinstanceData(conn, track_events);

	if (t)
		t->subxid = InvalidSubTransactionId;
}

/* Writes a notice of the other server to the log, at a level for debugging. */
static void
receive_notice(void *arg, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (message)
		elog(DEBUG1, "notice of a peer: %s", message);
}

/* Returns how many seconds a connection attempt may take; 0 for no limit. */
static int
connect_timeout(const PQconninfoOption *options)
{
	const char *value = dsn_value(options, "connect_timeout");
	int			seconds;

	if (value == NULL)
		return DEFAULT_CONNECT_TIMEOUT_S;
	seconds = atoi(value);
	return seconds <= 0 ? 0 : Max(seconds, 2);	/* as in libpq */
}

void
peer_install(void)
{
	RegisterXactCallback(tracked_xact_callback, NULL);
	RegisterSubXactCallback(tracked_subxact_callback, NULL);
}

/* Removes settings from this process's environment that would override the connection's options. */
static void
forget_environment(void)
{
	unsetenv("PGDATESTYLE");
	unsetenv("PGTZ");
	unsetenv("PGGEQO");
	unsetenv("PGOPTIONS");
}

/* Begins a connection. The result is never NULL. */
static PGconn *
connect_start(const char *dsn, PeerMode mode, const char *application_name,
			  const char *user_options)
{
	const char *keywords[16];
	const char *values[16];
	char	   *options;
	PGconn	   *conn;
	int			n = 0;

#define PARAM(k, v)		(keywords[n] = (k), values[n] = (v), n++)
	/* parameters that the dsn may override: a dead peer is noticed within a minute */
	PARAM("keepalives_idle", "30");
	PARAM("keepalives_interval", "10");
	PARAM("keepalives_count", "3");
	PARAM("dbname", dsn);
	/* parameters that it may not */
	options = session_peer_options(user_options);
	PARAM("options", options);
	PARAM("client_encoding", GetDatabaseEncodingName());
	PARAM("fallback_application_name", application_name);
	if (mode == PEER_REPLICATION)
		PARAM("replication", "database");
	PARAM(NULL, NULL);
#undef PARAM
	forget_environment();

	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not connect to a peer: there are too many open files"),
				 errhint("Raise \"max_files_per_process\" or the server's limit of open files.")));
	conn = PQconnectStartParams(keywords, values, true);
	pfree(options);
	if (conn == NULL || !PQregisterEventProc(conn, track_events, "replication_plugin", NULL))
	{
		if (conn)
			PQfinish(conn);
		ReleaseExternalFD();
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	PQsetNoticeReceiver(conn, receive_notice, NULL);
	return conn;
}

/* Sets on the connection what could not be set with it. */
static void
pin_settings(PGconn *conn)
{
	const char *sql = session_peer_sql(PQserverVersion(conn));

	if (sql)
		PQclear(peer_exec(conn, sql));
}

/* Completes a connection that was begun. Returns false at the deadline (0: none). */
static bool
connect_finish(PGconn *conn, Moment deadline)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (PQstatus(conn) == CONNECTION_BAD)
		return true;
	while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
	{
		long		ms = -1;
		int			events;

		if (deadline != 0)
		{
			ms = moment_ms_until(deadline);
			if (ms <= 0)
				return false;
		}
		events =
			peer_wait(conn,
					  status == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE,
					  ms);
		if (events & WL_SOCKET_MASK)
			status = PQconnectPoll(conn);
	}
	return true;
}

PGconn *
peer_connect(const char *dsn, PeerMode mode, const char *application_name)
{
	char	   *resolved = dsn_resolve(dsn, false);
	PQconninfoOption *options = dsn_parse(resolved);
	const char *value = dsn_value(options, "options");
	char	   *user_options = value ? pstrdup(value) : NULL;
	int			timeout = connect_timeout(options);
	char	   *shown;
	PGconn	   *conn;
	bool		in_time;
	char	   *message;

	PQconninfoFree(options);
	shown = dsn_without_secrets(dsn);
	conn = connect_start(resolved, mode, application_name, user_options);
	pfree(resolved);
	PG_TRY();
	{
		in_time = connect_finish(conn, timeout == 0 ? 0 :
								 moment_after(timeout * INT64CONST(1000)));
		if (in_time && PQstatus(conn) == CONNECTION_OK)
			pin_settings(conn);
	}
	PG_CATCH();
	{
		/* needed outside of a transaction; inside, its end would close the connection too */
		PQfinish(conn);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (in_time && PQstatus(conn) == CONNECTION_OK)
	{
		if (user_options)
			pfree(user_options);
		pfree(shown);
		return conn;
	}
	message =
		in_time ? pchomp(PQerrorMessage(conn)) : psprintf("no answer within %d seconds", timeout);
	PQfinish(conn);
	ereport(ERROR,
			(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
			 errmsg("could not connect to \"%s\": %s", shown, message)));
	return NULL;				/* keep the compiler quiet */
}

/* Describes where a connection leads, for the context of an error; palloc'd. */
static char *
peer_description(PGconn *conn)
{
	const char *host = PQhost(conn);
	const char *port = PQport(conn);
	const char *db = PQdb(conn);

	return psprintf("host=%s port=%s dbname=%s", host ? host : "", port ? port : "", db ? db : "");
}

/* ---------- peers that do not answer ---------- */

static void (*silence_function) (void *arg, const char *text) = NULL;
static void *silence_arg = NULL;

void
peer_tell_silence(void (*tell) (void *arg, const char *text), void *arg)
{
	silence_function = tell;
	silence_arg = arg;
}

/*
 * Reports that this process waits for a peer. Does nothing in a user's session, whose user waits
 * for a statement of his own.
 */
static void
tell_silence(PGconn *conn)
{
	char	   *where = peer_description(conn);
	char	   *text;

	if (!is_own_worker())
		return;
	text = psprintf("the peer \"%s\" has not answered for %d seconds HINT: Its session there is process %d: see in pg_stat_activity and pg_locks"
					" of that server what it waits for, or whether it was stopped. This process waits for it.",
					where, SILENCE_MS / 1000, PQbackendPID(conn));
	if (silence_function)
		silence_function(silence_arg, text);
	else
		ereport(LOG, (errmsg("%s", text)));
	pfree(text);
	pfree(where);
}

/*
 * Waits for the next result of the statement sent; returns NULL when there is no more. The wait
 * does not count as time that a row takes.
 */
static PGresult *
next_result(PGconn *conn)
{
	Moment		since = moment_now();
	bool		told = false;

	while (PQisBusy(conn))
	{
		peer_wait(conn, WL_SOCKET_READABLE, 1000);
		pulse_step();
		if (!told && moment_is_past(since, SILENCE_MS))
		{
			tell_silence(conn);
			told = true;
		}
		if (PQconsumeInput(conn) == 0)
			break;				/* the connection is lost: PQgetResult() reports it */
	}
	return PQgetResult(conn);
}

/* Copies a field of an error result; NULL if it has none. */
static char *
error_field(const PGresult *result, int field)
{
	const char *value = PQresultErrorField(result, field);

	return value ? pstrdup(value) : NULL;
}

/* Returns the length of a beginning of a statement that cannot contain a value. */
static int
harmless_length(const char *sql)
{
	return Min((int) strcspn(sql, "'\"($"), 100);
}

/*
 * Raises the error in result as a local one, and frees result. NULL: the statement could not be
 * sent.
 */
static void
raise_remote_error(PGconn *conn, PGresult *result, const char *sql)
{
	char	   *sqlstate = error_field(result, PG_DIAG_SQLSTATE);
	char	   *message = error_field(result, PG_DIAG_MESSAGE_PRIMARY);
	char	   *detail = error_field(result, PG_DIAG_MESSAGE_DETAIL);
	char	   *hint = error_field(result, PG_DIAG_MESSAGE_HINT);
	char	   *context = error_field(result, PG_DIAG_CONTEXT);
	int			code;

	if (sqlstate && strlen(sqlstate) == 5)
		code = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
	else
		code = ERRCODE_CONNECTION_FAILURE;
	if (message == NULL)
		message = pchomp(PQerrorMessage(conn));
	if (code == ERRCODE_INSUFFICIENT_PRIVILEGE && !hint)
		hint = psprintf("Nodes connect as a superuser, or as a role with REPLICATION that has the rights of replication_plugin_peer: GRANT replication_plugin_peer TO %s there. "
						"SELECT * FROM replication_plugin.session_lacks() as that role tells what it lacks.", quote_identifier(PQuser(conn) ? PQuser(conn) : ""));
	PQclear(result);
	ereport(ERROR,
			(errcode(code),
			 errmsg_internal("%s", message[0] ? message : "the other node closed the connection"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? errcontext("%s", context) : 0,
			 errcontext("statement on the peer \"%s\": %.*s", peer_description(conn), harmless_length(sql), sql)));
}

PGresult *
peer_result(PGconn *conn, const char *sql)
{
	PGresult   *last = NULL;
	PGresult   *result;

	while ((result = next_result(conn)) != NULL)
	{
		PQclear(last);
		last = result;
		switch (PQresultStatus(result))
		{
			case PGRES_TUPLES_OK:
			case PGRES_COMMAND_OK:
			case PGRES_EMPTY_QUERY:
				break;
			case PGRES_COPY_OUT:
			case PGRES_COPY_IN:
			case PGRES_COPY_BOTH:
				return result;
			default:
				/*
				 * any other value of libpq's enum is an error; take the results that follow first
				 */
				while (PQstatus(conn) == CONNECTION_OK && (result = next_result(conn)) != NULL)
					PQclear(result);
				raise_remote_error(conn, last, sql);
		}
	}
	if (last == NULL || PQresultStatus(last) == PGRES_EMPTY_QUERY)
		raise_remote_error(conn, last, sql);
	return last;
}

PGresult *
peer_exec(PGconn *conn, const char *sql)
{
	/* the simple protocol, as a walsender knows no other */
	if (!PQsendQuery(conn, sql))
		raise_remote_error(conn, NULL, sql);
	return peer_result(conn, sql);
}

PGresult *
peer_exec_params(PGconn *conn, const char *sql, int nparams, const char *const *values)
{
	if (!PQsendQueryParams(conn, sql, nparams, NULL, values, NULL, NULL, 0))
		raise_remote_error(conn, NULL, sql);
	return peer_result(conn, sql);
}

PGresult *
peer_exec_within(PGconn *conn, const char *sql, int nparams, const char *const *values, int ms)
{
	Moment		begun = moment_now();

	if (!PQsendQueryParams(conn, sql, nparams, NULL, values, NULL, NULL, 0))
		raise_remote_error(conn, NULL, sql);
	while (PQisBusy(conn))
	{
		if (moment_is_past(begun, ms))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("a member gives no answer for %d ms", ms)));
		(void) peer_wait(conn, WL_SOCKET_READABLE | WL_TIMEOUT, 1000);
		if (!PQconsumeInput(conn))
			raise_remote_error(conn, NULL, sql);
	}
	return peer_result(conn, sql);
}

int
peer_wait(PGconn *conn, int wake_events, long ms)
{
	int			events = wake_events | WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int			rc;

	if (ms >= 0)
		events |= WL_TIMEOUT;
	rc = WaitLatchOrSocket(MyLatch, events, PQsocket(conn), ms, PG_WAIT_EXTENSION);
	if (rc & WL_LATCH_SET)
		ResetLatch(MyLatch);
	pulse();
	return rc;
}
