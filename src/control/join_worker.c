/*
 * join_worker.c
 *		Takes this database into a group (PROTOCOL: Join).
 *
 *	joining: start
 *		A slot for us is made on the source, with an exported snapshot. After that the
 *		source admits us: our row in table node, with the source's frontier at that
 *		moment; the members that see it make slots for us. Then, inside the snapshot:
 *		schema (tables, functions), rows, then indexes and constraints.
 *	joining: catching up
 *		One link, from the source, with the transactions of all origins. Its stream begins
 *		exactly at the snapshot. We are through when it has brought our own node row, as of
 *		this admission, and the news of each other member that its slot for us stands
 *		(slot_made): what a member wrote before its slot has then come through the source.
 *	joining: opening links
 *		The link stands still; our progress of each origin is raised to what the source had
 *		when it admitted us (what is older came with the copy). Slots for the other members
 *		are made here. Then, in one transaction, the links are set to own transactions
 *		only, and our node row to ready.
 *	ready
 *
 * A crash, here or there, in the first state starts that state over: the snapshot is
 * gone, so is everything that was copied in it (the slot is dropped and made again, tables
 * are emptied, the schema is kept once it stands). From the second state on, each step
 * can be repeated. An error is noted in local_node, and the manager starts us again.
 *
 * The group's own tables (node, slot_made, table_setting) are copied like users' tables.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

#include "base/peer.h"
#include "base/settings.h"
#include "catalog/link_status.h"
#include "catalog/names.h"
#include "catalog/origin_map.h"
#include "control/join.h"
#include "control/sql.h"
#include "control/workers.h"
#include "model/frontier.h"

#define POLL_MS		100

void
join_progress(const char *fmt,...)
{
	char		text[512];
	const char *params[1] = {text};
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	sql_value("UPDATE replication_plugin.local_node SET progress = $1 WHERE progress IS DISTINCT FROM $1", 1, params);
}

/* Goes to another state. */
static void
set_state(const char *state)
{
	sql_value("UPDATE replication_plugin.local_node SET state = $1, last_error = NULL", 1, &state);
}

/* Reads local_node. */
static LocalNode *
read_local(void)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	LocalNode  *local;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	old = MemoryContextSwitchTo(context);
	local = nodes_local();
	MemoryContextSwitchTo(old);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	if (!local)
		proc_exit(0);			/* leave_group() was faster */
	return local;
}

/* ---------- joining: start ---------- */

/* Drops what an earlier try left on the source. */
static void
drop_old_slot(Join *join, PGconn *conn)
{
	char	   *name = quote_literal_cstr(join->slot);

	PQclear(peer_exec(conn, psprintf("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
									 " WHERE slot_name = %s AND active_pid IS NOT NULL", name)));
	PQclear(peer_exec(conn, psprintf("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
									 " WHERE slot_name = %s", name)));
}

/* Makes our slot on the source; its session keeps the snapshot alive. */
static void
make_source_slot(Join *join, PGconn *conn)
{
	PGresult   *res = peer_exec(conn, psprintf("SELECT replication_plugin.slot_name(%d)", join->local->node_id));

	join->slot = pstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	drop_old_slot(join, conn);
	join_progress("making a slot on the source (waits for transactions that are open there)");
	join->replication = peer_connect(join->local->source_dsn, PEER_REPLICATION, "replication_plugin join");
	res = peer_exec(join->replication, psprintf("CREATE_REPLICATION_SLOT \"%s\" LOGICAL " PLUGIN_NAME
												" EXPORT_SNAPSHOT", join->slot));
	join->snapshot = pstrdup(PQgetvalue(res, 0, 2));
	PQclear(res);
}

/* Has the source admit us; remembers the frontier of that moment. */
static void
be_admitted(Join *join, PGconn *conn)
{
	LocalNode  *l = join->local;
	PGresult   *res = peer_exec(conn, psprintf("SELECT replication_plugin.admit_node(%s, %d, %s, %s)",
											   quote_literal_cstr(l->group_id), l->node_id,
											   quote_literal_cstr(l->node_name), quote_literal_cstr(l->dsn)));
	const char *params[1] = {pstrdup(PQgetvalue(res, 0, 0))};

	PQclear(res);
	sql_value("UPDATE replication_plugin.local_node SET add_frontier = $1", 1, params);
}

/* Restores tables and functions, unless an earlier try has. */
static void
copy_schema(Join *join, const char *file)
{
	join_progress("copying the schema");
	join_dump_schema(join, file);
	if (sql_value("SELECT 1 FROM replication_plugin.local_node WHERE schema_copied", 0, NULL))
		return;
	join_restore_schema(join, file, "pre-data");
	sql_value("UPDATE replication_plugin.local_node SET schema_copied = true", 0, NULL);
}

/* Everything that happens inside the snapshot. */
static void
start(Join *join)
{
	PGconn	   *conn = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin join");
	char	   *file = psprintf("pg_stat_tmp/replication_plugin.%u.dump", MyDatabaseId);

	make_source_slot(join, conn);
	be_admitted(join, conn);
	PQfinish(conn);
	if (join->local->copy_schema)
		copy_schema(join, file);
	join_copy_tables(join);
	PQfinish(join->replication);
	if (join->local->copy_schema)
	{
		join_progress("building indexes and constraints");
		join_restore_schema(join, file, "post-data");
		unlink(file);
	}
	sql_value("SELECT replication_plugin.capture_install_all()", 0, NULL);
	sql_value_int("INSERT INTO replication_plugin.link (provider, full_origins) VALUES ($1::integer, 'all')"
				  " ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET full_origins = 'all', paused = false", join->local->source_id);
	set_state(JOIN_CATCHING_UP);
}

/* ---------- joining: catching up ---------- */

/* What is still missing, as text; NULL if nothing. */
static char *
still_missing(void)
{
	return sql_value("SELECT CASE WHEN NOT EXISTS (SELECT FROM replication_plugin.node n, replication_plugin.local_node l"
					 "  WHERE n.node_id = l.node_id AND n.add_frontier = l.add_frontier) THEN 'the own admission'"
					 " ELSE (SELECT 'the slot of node ' || string_agg(n.node_name, ', ') FROM replication_plugin.node n, replication_plugin.local_node l"
					 "  WHERE n.state = 'ready' AND n.node_id NOT IN (l.node_id, l.source_id)"
					 "  AND NOT EXISTS (SELECT FROM replication_plugin.slot_made m"
					 "   WHERE m.provider = n.node_id AND m.subscriber = l.node_id)) END", 0, NULL);
}

/* Waits until the link from the source has brought what we need. */
static void
catch_up(Join *join)
{
	char	   *missing;

	while ((missing = still_missing()) != NULL)
	{
		join_progress("catching up, waiting for %s", missing);
		worker_wait(POLL_MS);
	}
	set_state(JOIN_OPENING);
}

/* ---------- joining: opening links ---------- */

/* Stops the link from the source, so that nobody holds an origin. */
static void
rest_link(Join *join)
{
	int			index = link_status_find(MyDatabaseId, join->local->source_id, true);
	LinkStatus	l;

	sql_value_int("UPDATE replication_plugin.link SET paused = true WHERE provider = $1::integer",
				  join->local->source_id);
	while (link_status_get(index, &l) && (l.pid != 0 || l.state != LINK_PAUSED))
		worker_wait(POLL_MS);
}

/* Raises our progress to what the source had when it admitted us. */
static void
raise_progress(Join *join)
{
	char	   *text = sql_value("SELECT add_frontier FROM replication_plugin.local_node", 0, NULL);
	Frontier   *f = text ? frontier_from_text(text) : NULL;

	if (!f)
		elog(ERROR, "malformed frontier \"%s\"", text ? text : "");
	StartTransactionCommand();
	for (int i = 0; i < f->n; i++)
	{
		FrontierEntry *e = &f->entries[i];
		RepOriginId origin;

		if (e->node == join->local->node_id)
			continue;
		origin = origin_map_create(e->node);
		if (replorigin_get_progress(origin, false) < e->lsn)
			replorigin_advance(origin, e->lsn, InvalidXLogRecPtr, false, true);
	}
	CommitTransactionCommand();
	sql_value("SELECT replication_plugin.flush_point()", 0, NULL);
}

/* Makes slots for all other members, each in its own transaction. */
static void
make_slots(void)
{
	char	   *subscriber;

	while ((subscriber = sql_value("SELECT n.node_id FROM replication_plugin.node n, replication_plugin.local_node l"
								   " WHERE n.node_id <> l.node_id AND n.state <> 'removed'"
								   " AND NOT EXISTS (SELECT FROM pg_replication_slots s"
								   "  WHERE s.slot_name = replication_plugin.slot_name(n.node_id)) LIMIT 1", 0, NULL)) != NULL)
		sql_value("SELECT replication_plugin.make_slot($1::integer)", 1, (const char *const *) &subscriber);
}

/* The last step: from now on a member like the others. */
static void
become_ready(Join *join)
{
	sql_value("WITH l AS (UPDATE replication_plugin.local_node SET state = '" JOIN_READY "', progress = NULL, last_error = NULL),"
			  " o AS (UPDATE replication_plugin.link SET full_origins = 'own', paused = false)"
			  " UPDATE replication_plugin.node n SET state = 'ready' FROM replication_plugin.local_node x"
			  " WHERE n.node_id = x.node_id", 0, NULL);
	ereport(LOG, (errmsg("node \"%s\" is ready", join->local->node_name)));
}

/* Opens the node. */
static void
open_links(Join *join)
{
	join_progress("opening links");
	rest_link(join);
	raise_progress(join);
	make_slots();
	become_ready(join);
}

/* ---------- the worker ---------- */

/* Notes an error for people to see. */
static void
note_error(MemoryContext context)
{
	ErrorData  *edata;
	const char *text;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	text = edata->message;
	if (edata->detail)
		text = psprintf("%s DETAIL: %s", text, edata->detail);
	if (edata->hint)
		text = psprintf("%s HINT: %s", text, edata->hint);
	sql_value("UPDATE replication_plugin.local_node SET last_error = $1, last_error_at = clock_timestamp()", 1, &text);
}

/* Goes through the states that are left. */
static void
join_group(void)
{
	Join		join = {0};

	join.local = read_local();
	if (strcmp(join.local->state, JOIN_START) == 0)
	{
		start(&join);
		join.local = read_local();
	}
	if (strcmp(join.local->state, JOIN_CATCHING_UP) == 0)
	{
		catch_up(&join);
		join.local = read_local();
	}
	if (strcmp(join.local->state, JOIN_OPENING) == 0)
		open_links(&join);
}

void
replication_plugin_join_main(Datum dboid)
{
	MemoryContext context;

	worker_setup(DatumGetObjectId(dboid));
	origin_map_ensure_loaded();
	context = AllocSetContextCreate(TopMemoryContext, "join", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		join_group();
	}
	PG_CATCH();
	{
		note_error(context);
	}
	PG_END_TRY();
	proc_exit(0);
}
