/*
 * peer.c
 *		libpq connections to another node (or to this one), with every wait interruptible.
 *
 * Connections are closed by their users; one that an error leaves behind is closed with
 * the process.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/peer.h"

#define CONNECT_TIMEOUT_MS	10000
#define MAX_KEYWORDS		64

/* Pinned on every session, so that text values mean the same on both sides. */
#define PINNED_OPTIONS \
	"-c datestyle=ISO,YMD -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3 " \
	"-c search_path= -c statement_timeout=0 -c lock_timeout=0 " \
	"-c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off"

/* Parses a dsn, or says why it cannot. PQconninfoFree is the caller's. */
static PQconninfoOption *
parse_dsn(const char *dsn)
{
	char	   *why = NULL;
	PQconninfoOption *options = PQconninfoParse(dsn, &why);

	if (!options)
	{
		char	   *copy = why ? pchomp(why) : pstrdup("out of memory");

		PQfreemem(why);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid dsn: %s", copy),
				 errhint("A dsn looks like \"host=db1.example.com port=5432 dbname=app user=replicator\".")));
	}
	return options;
}

char *
peer_dsn_without_secrets(const char *dsn)
{
	PQconninfoOption *options = parse_dsn(dsn);
	StringInfoData buf;

	initStringInfo(&buf);
	for (PQconninfoOption *o = options; o->keyword; o++)
	{
		if (!o->val || !o->val[0] || strcmp(o->keyword, "password") == 0 ||
			strcmp(o->keyword, "sslpassword") == 0)
			continue;
		appendStringInfo(&buf, "%s%s=", buf.len ? " " : "", o->keyword);
		if (strpbrk(o->val, " '\\"))
		{
			appendStringInfoChar(&buf, '\'');
			for (const char *p = o->val; *p; p++)
			{
				if (*p == '\'' || *p == '\\')
					appendStringInfoChar(&buf, '\\');
				appendStringInfoChar(&buf, *p);
			}
			appendStringInfoChar(&buf, '\'');
		}
		else
			appendStringInfoString(&buf, o->val);
	}
	PQconninfoFree(options);
	return buf.data;
}

int
peer_wait(PGconn *conn, int wake_events, long ms)
{
	int			events = WaitLatchOrSocket(MyLatch,
										   wake_events | WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
										   (ms >= 0 ? WL_TIMEOUT : 0),
										   PQsocket(conn), ms, PG_WAIT_EXTENSION);

	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return events;
}

/* Drives a connection attempt to its end. Returns false on failure. */
static bool
finish_connecting(PGconn *conn)
{
	TimestampTz start = GetCurrentTimestamp();
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (PQstatus(conn) == CONNECTION_BAD)
		return false;
	while (status != PGRES_POLLING_OK)
	{
		long		left = CONNECT_TIMEOUT_MS -
			(long) TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());

		if (status == PGRES_POLLING_FAILED || left <= 0)
			return false;
		peer_wait(conn, status == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE,
				  left);
		status = PQconnectPoll(conn);
	}
	return true;
}

/* Starts a connection with the dsn's settings and ours. */
static PGconn *
start_connecting(const char *dsn, PeerMode mode, const char *application_name)
{
	PQconninfoOption *options = parse_dsn(dsn);
	const char *keywords[MAX_KEYWORDS];
	const char *values[MAX_KEYWORDS];
	int			n = 0;
	char	   *session = pstrdup(PINNED_OPTIONS);
	PGconn	   *conn;

	for (PQconninfoOption *o = options; o->keyword; o++)
	{
		if (!o->val || !o->val[0])
			continue;
		if (strcmp(o->keyword, "options") == 0)
		{
			session = psprintf("%s %s", o->val, PINNED_OPTIONS);
			continue;
		}
		if (strcmp(o->keyword, "replication") == 0 || strcmp(o->keyword, "client_encoding") == 0 ||
			strcmp(o->keyword, "fallback_application_name") == 0 || n >= MAX_KEYWORDS - 6)
			continue;
		keywords[n] = o->keyword;
		values[n++] = o->val;
	}
	keywords[n] = "options";
	values[n++] = session;
	keywords[n] = "client_encoding";
	values[n++] = GetDatabaseEncodingName();
	keywords[n] = "fallback_application_name";
	values[n++] = application_name;
	if (mode == PEER_REPLICATION)
	{
		keywords[n] = "replication";
		values[n++] = "database";
	}
	keywords[n] = values[n] = NULL;
	conn = PQconnectStartParams(keywords, values, 0);
	PQconninfoFree(options);
	return conn;
}

PGconn *
peer_connect(const char *dsn, PeerMode mode, const char *application_name)
{
	PGconn	   *conn = start_connecting(dsn, mode, application_name);
	volatile bool connected = false;

	if (!conn)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		connected = finish_connecting(conn);
	}
	PG_CATCH();
	{
		PQfinish(conn);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!connected)
	{
		char	   *why = pchomp(PQerrorMessage(conn));

		PQfinish(conn);
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not connect to \"%s\": %s", peer_dsn_without_secrets(dsn),
						why[0] ? why : "timeout")));
	}
	PQsetnonblocking(conn, 0);
	return conn;
}

/* Raises the error that the other side has reported. */
static void
raise_remote_error(PGconn *conn, PGresult *res)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	int			code = ERRCODE_CONNECTION_FAILURE;

	if (sqlstate && strlen(sqlstate) == 5)
		code = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
	message = message ? pstrdup(message) : pchomp(PQerrorMessage(conn));
	detail = detail ? pstrdup(detail) : NULL;
	hint = hint ? pstrdup(hint) : NULL;
	PQclear(res);
	ereport(ERROR,
			(errcode(code),
			 errmsg("%s", message[0] ? message : "the other node closed the connection"),
			 detail ? errdetail("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
}

/* Waits for the (last) result of what was sent. */
static PGresult *
wait_for_result(PGconn *conn)
{
	PGresult   *last = NULL;

	for (;;)
	{
		PGresult   *res;
		ExecStatusType status;

		while (PQisBusy(conn))
		{
			peer_wait(conn, WL_SOCKET_READABLE, -1);
			if (PQconsumeInput(conn) == 0)
				break;
		}
		res = PQgetResult(conn);
		if (!res)
			return last;
		PQclear(last);
		last = res;
		status = PQresultStatus(res);
		if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH ||
			PQstatus(conn) == CONNECTION_BAD)
			return last;
	}
}

/* Waits and checks. */
static PGresult *
checked_result(PGconn *conn, int sent)
{
	PGresult   *res = sent ? wait_for_result(conn) : NULL;

	switch (res ? PQresultStatus(res) : PGRES_FATAL_ERROR)
	{
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
		case PGRES_COPY_IN:
		case PGRES_COPY_OUT:
		case PGRES_COPY_BOTH:
			return res;
		default:
			raise_remote_error(conn, res);
	}
	return NULL;
}

PGresult *
peer_exec(PGconn *conn, const char *sql)
{
	return checked_result(conn, PQsendQuery(conn, sql));
}

PGresult *
peer_exec_params(PGconn *conn, const char *sql, int nparams, const char *const *values)
{
	return checked_result(conn, PQsendQueryParams(conn, sql, nparams, NULL, values, NULL, NULL, 0));
}
