/*
 * connect.c
 *		Connects to a provider: handshake, slot, and the start of the stream.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

#include "base/peer.h"
#include "base/settings.h"
#include "receive/clock_probe.h"
#include "receive/confirmed.h"
#include "receive/connect.h"
#include "receive/reply.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "wire/protocol.h"
#include "wire/value.h"

#define SLOT_TRIES			50
#define SLOT_TAKE_TRIES		10		/* after which the old walsender is ended */
#define SLOT_WAIT_MS		100
#define PATIENCE			3		/* the provider waits for at least this many row_timeouts */
#define UNLIMITED_PATIENCE_MS	3600000	/* ... or this long if there is no row_timeout */

/* Request and answer are objects, in which each version can have more: unknown names are ignored. */
static const char handshake_sql[] =
	"SELECT h.answer ->> 'node_id', h.answer ->> 'slot_name', h.answer ->> 'encoding',"
	" h.answer ->> 'base', h.answer ->> 'incarnation', h.answer ->> 'run_token',"
	" h.answer ->> 'run_start', h.answer ->> 'run_row', h.answer ->> 'protocol'"
	" FROM replication_plugin.handshake(pg_catalog.jsonb_build_object('group_id', %s, 'node_id', %d,"
	" 'version', '" EXTENSION_VERSION "', 'oldest_protocol', %d, 'newest_protocol', %d,"
	" 'agreed_protocol', %d, 'run', pg_catalog.jsonb_build_array(%s))) h(answer)";
static const char has_handshake_sql[] =
	"SELECT pg_catalog.to_regprocedure('replication_plugin.handshake(jsonb)') IS NOT NULL"
	" OR pg_catalog.to_regnamespace('replication_plugin') IS NULL";
static const char slot_position_sql[] =
	"SELECT confirmed_flush_lsn, pg_catalog.pg_current_wal_flush_lsn()"
	" FROM pg_catalog.pg_replication_slots WHERE slot_name = %s";
static const char renew_slot_sql[] = "SELECT replication_plugin.renew_slot(%d, '%X/%X', '%X/%X')";
static const char end_old_sender_sql[] =
	"SELECT pg_catalog.pg_terminate_backend(s.active_pid) FROM pg_catalog.pg_replication_slots s"
	" JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid"
	" WHERE s.slot_name = %s AND r.application_name = %s";
static const char slot_is_active_sql[] =
	"SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND active";
static const char ask_for_patience_sql[] =
	"SELECT pg_catalog.set_config('wal_sender_timeout', %d::pg_catalog.text, false)"
	" FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'"
	" AND setting::pg_catalog.int4 BETWEEN 1 AND %d";

/* Returns the application_name of this link's sessions on the provider. */
static char *
session_name(Link *link)
{
	return psprintf("replication_plugin link to node %d", link->me);
}

/* Raises an error if the provider has version 1.0, which negotiates nothing. */
static void
refuse_oldest(Link *link)
{
	PGresult   *res = peer_exec(link->conn, has_handshake_sql);

	if (PQntuples(res) != 1 || PQgetvalue(res, 0, 0)[0] != 't')
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("node \"%s\" has version 1.0 of the extension, and this node version %s, which takes nothing from 1.0",
						link->provider_name, EXTENSION_VERSION),
				 errhint("From 1.0, all members are updated together: install the new version there, restart the server, and call ALTER EXTENSION replication_plugin UPDATE.")));
	PQclear(res);
}

/* Runs the handshake. Returns false if the provider has no slot for this node yet. */
static bool
connect_handshake(Link *link)
{
	char	   *sql = psprintf(handshake_sql, quote_literal_cstr(link->group_id), link->me,
							   WIRE_PROTOCOL_OLDEST, WIRE_PROTOCOL_VERSION, link->agreed, link->run);
	PGresult   *res;
	bool		made;

	refuse_oldest(link);
	link->provider_answers = true;
	res = peer_exec(link->conn, sql);
	link->provider_answers = false;

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
		const char *run[4] = {PQgetvalue(res, 0, 4), PQgetvalue(res, 0, 5), PQgetvalue(res, 0, 6),
							  PQgetvalue(res, 0, 7)};

		link->stream.slot = pstrdup(PQgetvalue(res, 0, 1));
		link->stream.protocol = atoi(PQgetvalue(res, 0, 8));
		link->base = PQgetisnull(res, 0, 3) ? NULL : frontier_from_text(PQgetvalue(res, 0, 3));
		link_check_run(link, run);
	}
	PQclear(res);
	return made;
}

/* Returns the confirmed position of the slot, and notes where the provider's WAL ends. */
static XLogRecPtr
slot_position(Link *link)
{
	char	   *sql = psprintf(slot_position_sql, quote_literal_cstr(link->stream.slot));
	PGresult   *res = peer_exec(link->conn, sql);
	XLogRecPtr	confirmed = InvalidXLogRecPtr;

	if (PQntuples(res) == 1)
	{
		confirmed =
			DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(PQgetvalue(res, 0, 0))));
		link->stream.provider_end =
			DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(PQgetvalue(res, 0, 1))));
	}
	PQclear(res);
	return confirmed;
}

/*
 * Returns true if the slot is where this subscriber has left it, or before that. Otherwise someone
 * has moved the slot, and what it passed over would be lost: the provider is told to drop it, so
 * that it is made anew from the group slot, which keeps everything that this node may lack.
 */
static bool
slot_is_ours(Link *link, XLogRecPtr position)
{
	bool		exact;
	XLogRecPtr	known = confirmed_known(link, &exact);
	char	   *text;

	if (link->joining || link->base || position <= known)
		return true;
	text = psprintf("slot \"%s\" of node \"%s\" is at %X/%X, and only %X/%X was confirmed here%s",
					link->stream.slot, link->provider_name, LSN_FORMAT_ARGS(position),
					LSN_FORMAT_ARGS(known),
					exact ? ": somebody has moved it, or made another one"
						  : ": somebody has moved it, or this server has crashed");
	PQclear(peer_exec(link->conn, psprintf(renew_slot_sql, link->me,
										   LSN_FORMAT_ARGS(position), LSN_FORMAT_ARGS(known))));
	ereport(exact ? WARNING : LOG,
			(errmsg("%s", text),
			 errdetail("It is made anew from the group slot of that node, which has what this one may lack.")));
	if (exact)
		link_status_tell(link->index, psprintf("%s. It is made anew, and nothing is lost", text));
	return false;
}

/* Ends the walsender of this link's last stream, which may not have noticed its end yet. */
static void
end_old_sender(Link *link)
{
	char *sql = psprintf(end_old_sender_sql, quote_literal_cstr(link->stream.slot),
						 quote_literal_cstr(session_name(link)));

	PQclear(peer_exec(link->conn, sql));
}

/*
 * Waits for a while until the slot is not active. After a restart of the stream, the walsender of
 * the last stream may still use it.
 */
static void
connect_wait_for_slot(Link *link)
{
	char	   *sql = psprintf(slot_is_active_sql, quote_literal_cstr(link->stream.slot));
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

/*
 * Raises wal_sender_timeout in the provider's session, so that the walsender does not give up while
 * a row takes as long as it may. A timeout of 0 (none) stays.
 */
static void
ask_for_patience(Link *link)
{
	int64 ms =
		setting_row_timeout > 0 ? (int64) setting_row_timeout * PATIENCE : UNLIMITED_PATIENCE_MS;
	char	   *sql = psprintf(ask_for_patience_sql,
							   (int) Min(ms, INT_MAX), (int) Min(ms, INT_MAX));

	PQclear(peer_exec(link->conn, sql));
}

char *
link_full_origins(Link *link)
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

/* Returns the option that names the transactions to leave out, or "" if there are none. */
static char *
skip_option(Link *link)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, link->skip)
		appendStringInfo(&buf, "%s%X/%X", buf.len ? "," : ", skip '",
						 LSN_FORMAT_ARGS(*(XLogRecPtr *) lfirst(lc)));
	if (buf.len > 0)
		appendStringInfoChar(&buf, '\'');
	return buf.data;
}

/* Starts streaming from the confirmed position of the slot. */
static void
start_stream(Link *link)
{
	char *sql = psprintf("START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (protocol '%d', node_id '%d', "
						 "group_id '%s', full_origins '%s', layout '%s', encoding '%s'%s)",
						 link->stream.slot, link->stream.protocol, link->me, link->group_id,
						 link_full_origins(link), value_layout(), GetDatabaseEncodingName(),
						 skip_option(link));
	PGresult   *res = peer_exec(link->conn, sql);

	if (PQresultStatus(res) != PGRES_COPY_BOTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("node \"%s\" did not start to stream", link->provider_name)));
	PQclear(res);
	/* sending must not block when the provider does not read */
	if (PQsetnonblocking(link->conn, 1) != 0)
		elog(ERROR, "could not make the connection non-blocking");
}

void
link_start(Link *link)
{
	ask_for_patience(link);
	start_stream(link);
}

/* Connects to the provider, and notes it if that fails. */
static void
open_connection(Link *link)
{
	PG_TRY();
	{
		link->conn = peer_connect(link->provider_dsn, PEER_REPLICATION, session_name(link));
	}
	PG_CATCH();
	{
		link_status_set_contact(link->index, CONTACT_FAILED);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Runs the handshake. A provider that has another version, or is being updated, judges nothing: as
 * for this node's run, it counts as one that cannot be reached.
 */
static bool
try_handshake(Link *link)
{
	volatile bool made = false;

	PG_TRY();
	{
		made = connect_handshake(link);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_FEATURE_NOT_SUPPORTED)
			link_status_set_contact(link->index, CONTACT_FAILED);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return made;
}

LinkMade
link_connect(Link *link, XLogRecPtr *confirmed)
{
	LinkMade	made = LINK_NO_SLOT;

	link_status_set_state(link->index, LINK_CONNECTING);
	open_connection(link);
	link_status_set_contact(link->index, CONTACT_OPEN);
	clock_probe_first(link);
	if (try_handshake(link))
	{
		link_status_set_contact(link->index, CONTACT_MADE);
		manager_status_wake(MyDatabaseId);
		connect_wait_for_slot(link);
		*confirmed = slot_position(link);
		made = slot_is_ours(link, *confirmed) ? LINK_MADE : LINK_SLOT_RENEWED;
	}
	if (made != LINK_MADE)
	{
		PQfinish(link->conn);
		link->conn = NULL;
	}
	return made;
}
