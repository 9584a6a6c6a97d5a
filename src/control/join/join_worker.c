/*
 * join_worker.c
 *		Takes this database into a group (docs/protocol.md, Join).
 *
 *	joining: slot
 *		A slot for this node is made on the source, with an exported snapshot. After that the
 *		source admits this node: it writes the node's row in table member, with the source's
 *		frontier at that moment. From then on all members count the node.
 *	joining: schema
 *		Tables and functions are created as of the snapshot (join_schema.c).
 *	joining: copy
 *		The rows are copied in the snapshot, several tables at a time (join_copy.c). The group's
 *		own tables (member, frontier, ...) are copied like users' tables.
 *	joining: adopt
 *		Replaces the three states above if the database is a physical copy of the source: it
 *		knows itself how far it is, and its slot was made before the copy
 *		(prepare_base_backup()).
 *	joining: indexes
 *		Indexes, constraints and triggers are created. The snapshot is no longer needed. The group
 *		slot is made before the first transaction is applied.
 *	joining: catching up
 *		There is one link, from the source, with the transactions of all origins. Its stream
 *		begins exactly at the snapshot. The state ends when each ready member has said in a
 *		frontier row that it has applied this node's admission: what that member writes from then
 *		on has seen everything that was copied, so no write that is concurrent with a copied row
 *		can still arrive. Until then the source decides all conflicts for this node.
 *	joining: opening links
 *		The link is stopped. The progress of each origin is raised to what the source had when it
 *		admitted this node (older transactions came with the copy), and flushed. Then one
 *		transaction sets the state and writes the row in member_ready: it is the first transaction
 *		of this node that others receive.
 *	ready
 *
 * Crashes of either server: The first three states depend on the snapshot, which ends with the join
 * worker's session on the source, so they start over. The slot is dropped and made again; the node
 * is admitted anew, with a later frontier, so that an older row of it that came with the copy does
 * not count; each table is emptied in the transaction that copies it. The schema is kept once it is
 * complete. Until all rows are copied there is no link. From "joining: indexes" on, each step is
 * one transaction that notes its own completion, or can be repeated: the indexes together with the
 * deletion of their script; the group slot; the link together with the next state; a pause of the
 * link; progress that is only ever raised; the last transaction.
 *
 * An error is noted in local_node and ends this process; the manager starts it again. The new
 * process first waits, twice as long after each error. The next state that is reached clears the
 * noted error. The user can end a join with leave_group(). If the source is lost, the join is lost
 * as well.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_replication_origin.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/fault_point.h"
#include "base/own_transaction.h"
#include "base/peer.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/join/join.h"
#include "control/workers/lacking_places.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "model/frontier.h"
#include "shared/clock.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "shared/origin_map.h"
#include "shared/wall_clock.h"

#define POLL_MS		100
#define SLOT_POLL_MS	500		/* between two checks of what delays the slot on the source */

static const char free_old_slot_sql[] = "SELECT replication_plugin.free_slot_of(%d)";
static const char slot_waits_for_sql[] =
	"SELECT w.waits_for FROM replication_plugin.transaction_waited_for(%d) w(waits_for)"
	" WHERE w.waits_for IS NOT NULL";
static const char own_slot_name_sql[] = "SELECT replication_plugin.slot_name(%d)";
static const char clock_of_source_sql[] =
	"SELECT replication_plugin.clock_tick(), (pg_catalog.date_part('epoch',"
	" pg_catalog.clock_timestamp()"
	" - '2000-01-01 00:00:00+00'::pg_catalog.timestamptz) * 1000000)::pg_catalog.int8";
static const char observe_clock_sql[] = "SELECT replication_plugin.observe_clock($1::timestamptz)";
static const char hiding_sql[] = "SELECT replication_plugin.hiding()";
static const char admit_node_sql[] =
	"SELECT frontier, stable FROM replication_plugin.admit_node(%s, %d, %s, %s)";
static const char last_commit_sql[] = "SELECT replication_plugin.last_commit_lsn()";
static const char note_admission_sql[] =
	"UPDATE replication_plugin.local_node SET add_frontier = $1, add_stable = $2,"
	" add_lsn = $3::pg_lsn";
static const char kept_by_source_sql[] =
	"SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', w.schema_name, w.table_name), ', ')"
	" FROM replication_plugin.waiting_table w WHERE w.kept";
static const char delete_stable_point_sql[] = "DELETE FROM replication_plugin.stable_point";
static const char install_capture_sql[] = "SELECT replication_plugin.capture_install_all()";
static const char import_states_sql[] = "SELECT replication_plugin.import_states()";
static const char insert_stable_point_sql[] =
	"INSERT INTO replication_plugin.stable_point (vector, slot_vector)"
	" SELECT add_stable, add_stable FROM replication_plugin.local_node ON CONFLICT DO NOTHING";
static const char make_group_slot_sql[] = "SELECT replication_plugin.make_group_slot()";
static const char begin_catching_up_sql[] =
	"WITH s AS (UPDATE replication_plugin.local_node"
	" SET state = 'joining: catching up', progress = NULL,"
	"  last_error = NULL, failures = 0, failed_state = NULL WHERE state = 'joining: indexes'"
	" RETURNING 1)"
	" INSERT INTO replication_plugin.link (provider, full_origins) SELECT $1::integer, 'all'"
	" FROM s"
	" ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET full_origins = 'all', paused = false"
	" RETURNING 1";
static const char is_removed_sql[] =
	"SELECT 1 FROM replication_plugin.node n JOIN replication_plugin.local_node l USING (node_id)"
	" WHERE n.state = 'removed'";
static const char still_missing_sql[] =
	"SELECT CASE WHEN NOT EXISTS (SELECT FROM replication_plugin.node n,"
	" replication_plugin.local_node l"
	"  WHERE n.node_id = l.node_id AND n.add_frontier = l.add_frontier) THEN 'the own admission'"
	" ELSE (SELECT 'its acknowledgement by ' || string_agg(n.node_name, ', ')"
	"  FROM replication_plugin.node n CROSS JOIN replication_plugin.local_node l"
	" LEFT JOIN replication_plugin.frontier f ON f.node_id = n.node_id"
	"  WHERE n.state = 'ready' AND n.node_id <> l.node_id"
	"  AND coalesce(replication_plugin.frontier_lsn(f.vector, l.source_id) < l.add_lsn, true)) END";
static const char pause_link_sql[] =
	"UPDATE replication_plugin.link SET paused = true WHERE provider = $1::integer";
static const char add_frontier_sql[] = "SELECT add_frontier FROM replication_plugin.local_node";
static const char flush_point_sql[] = "SELECT replication_plugin.flush_point()";
static const char become_ready_sql[] =
	"WITH l AS (UPDATE replication_plugin.local_node"
	" SET state = 'ready', announced = false, progress = NULL,"
	"  last_error = NULL, failures = 0, failed_state = NULL"
	" WHERE state = 'joining: opening links' RETURNING node_id),"
	" o AS (UPDATE replication_plugin.link SET paused = false FROM l)"
	" INSERT INTO replication_plugin.member_ready (node_id) SELECT node_id FROM l RETURNING 1";

/* ---------- joining: slot ---------- */

/* Drops the slot that an earlier try has left on the source. */
static void
drop_old_slot(Joining *join, PGconn *conn)
{
	PQclear(peer_exec(conn, psprintf(free_old_slot_sql, join->local->node_id)));
}

/*
 * Returns a description of what delays the slot that a walsender of the source makes, or NULL if
 * that is not known.
 */
static char *
slot_waits_for(PGconn *conn, int walsender)
{
	PGresult   *res = peer_exec(conn, psprintf(slot_waits_for_sql, walsender));
	char	   *text = PQntuples(res) > 0 ? pstrdup(PQgetvalue(res, 0, 0)) : NULL;

	PQclear(res);
	return text;
}

/*
 * Waits for the result of the session that makes the slot, and reports meanwhile what that waits
 * for.
 */
static PGresult *
join_worker_wait_for_slot(Joining *join, PGconn *conn, const char *sql)
{
	if (PQsendQuery(join->replication, sql) == 0)
		return peer_exec(join->replication, sql);	/* raises the error */
	while (PQisBusy(join->replication))
	{
		if (peer_wait(join->replication, WL_SOCKET_READABLE | WL_TIMEOUT, SLOT_POLL_MS) &
			WL_SOCKET_READABLE)
		{
			if (PQconsumeInput(join->replication) == 0)
				break;
		}
		else
		{
			char	   *waits_for = slot_waits_for(conn, PQbackendPID(join->replication));

			join_progress("making a slot on the source, which waits for %s",
						  waits_for ? waits_for : "transactions that are open there");
		}
	}
	return peer_result(join->replication, sql);
}

/* Makes the slot on the source. Its session keeps the snapshot alive. */
static void
make_source_slot(Joining *join, PGconn *conn)
{
	PGresult   *res = peer_exec(conn, psprintf(own_slot_name_sql, join->local->node_id));

	join->slot = pstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	drop_old_slot(join, conn);
	join_progress("making a slot on the source (waits for transactions that are open there)");
	join->replication =
		peer_connect(join->local->source_dsn, PEER_REPLICATION, "replication_plugin join");
	res = join_worker_wait_for_slot(join, conn,
									psprintf("CREATE_REPLICATION_SLOT \"%s\" LOGICAL " PLUGIN_NAME
											 " EXPORT_SNAPSHOT",
											 join->slot));
	join->snapshot = pstrdup(PQgetvalue(res, 0, 2));
	PQclear(res);
	FAULT_POINT("join_slot_made");
}

/*
 * Raises an error if this server's clock is too far ahead of the source's: other nodes would refuse
 * this node's writes as soon as it is ready.
 */
static void
require_near_clock(const char *source_time)
{
	int64		ahead = GetCurrentTimestamp() - (TimestampTz) strtoll(source_time, NULL, 10);

	if (ahead > wall_clock_limit())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the clock of this server is %s ahead of the source's, which is more than replication_plugin.max_clock_skew",
						wall_clock_span(ahead)),
				 errhint("Synchronise the clocks of both servers (NTP); the join goes on by itself.")));
}

/*
 * Makes local commits later than everything that is copied. A clock that has run ahead is set back,
 * since nothing stays of what this server wrote before.
 */
static void
follow_clock(PGconn *conn)
{
	PGresult   *res = peer_exec(conn, clock_of_source_sql);
	const char *params[1] = {pstrdup(PQgetvalue(res, 0, 0))};

	require_near_clock(PQgetvalue(res, 0, 1));
	PQclear(res);
	if (clock_lead() > wall_clock_limit() && manager_status_groups() == 1)
		clock_set_back(
			DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(params[0]),
													InvalidOid, Int32GetDatum(-1))));
	sql_value(observe_clock_sql, 1, params);
}

/*
 * Asks the source to admit this node. Stores the source's frontier and stable vector of that
 * moment, and the position of the admission in the source's WAL.
 */
static void
be_admitted(Joining *join, PGconn *conn)
{
	LocalNode  *l = join->local;
	PGresult   *res;
	const char *params[3];

	PQclear(peer_exec(conn, sql_value(hiding_sql, 0, NULL)));
	res = peer_exec(conn, psprintf(admit_node_sql, quote_literal_cstr(l->group_id), l->node_id,
								   quote_literal_cstr(l->node_name), quote_literal_cstr(l->dsn)));
	params[0] = pstrdup(PQgetvalue(res, 0, 0));
	params[1] = pstrdup(PQgetvalue(res, 0, 1));
	PQclear(res);
	res = peer_exec(conn, last_commit_sql);
	params[2] = pstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	follow_clock(conn);
	sql_value(note_admission_sql, 3, params);
}

/* Returns the tables of which the source keeps changes, as text, or NULL if there are none. */
static char *
kept_by_source(PGconn *conn)
{
	PGresult   *res = peer_exec(conn, kept_by_source_sql);
	char	   *tables = PQgetisnull(res, 0, 0) ? NULL : pstrdup(PQgetvalue(res, 0, 0));

	PQclear(res);
	return tables;
}

/*
 * Waits until the source keeps no changes. Its rows come without versions, so this node can take
 * only what the source has decided. The snapshot must meet this condition as well
 * (require_none_kept()). If a table begins to wait after the snapshot, its changes come as changes
 * that the source has kept, and are refused (apply_envelope()).
 */
static void
wait_for_kept(PGconn *conn)
{
	char	   *tables;

	while ((tables = kept_by_source(conn)) != NULL)
	{
		join_progress("waiting for the source: changes of %s wait there (see its view waiting_tables; or join through another member)", tables);
		pfree(tables);
		worker_wait(POLL_MS);
	}
}

/* Raises an error if the source keeps changes as of the snapshot. */
static void
require_none_kept(Joining *join)
{
	PGconn	   *conn = join_open_source(join);
	char	   *tables = kept_by_source(conn);

	PQfinish(conn);
	if (tables)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changes of %s have come to wait on the source of the join", tables),
				 errdetail("The join begins anew when they wait no more.")));
}

/* Does all steps that need the snapshot. Starts over if an earlier try has not completed them. */
static void
copy_snapshot(Joining *join)
{
	PGconn	   *conn;

	if (join->state != JOIN_SLOT)
		join_set_state(join, JOIN_SLOT);
	/* while rows of members come in any order, no stable point is known */
	sql_value(delete_stable_point_sql, 0, NULL);
	conn = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin join");
	wait_for_kept(conn);
	make_source_slot(join, conn);
	require_none_kept(join);
	be_admitted(join, conn);
	PQfinish(conn);
	FAULT_POINT("join_admitted");
	join_set_state(join, JOIN_SCHEMA);
	join_copy_schema(join);
	FAULT_POINT("join_schema_copied");
	join_set_state(join, JOIN_COPY);
	join_copy_tables(join);
	FAULT_POINT("join_rows_copied");
	join_set_state(join, JOIN_INDEXES);
	PQfinish(join->replication);
}

/*
 * Has a physical copy admitted. It has all data, and the source has made its slot before the copy.
 */
static void
join_worker_adopt(Joining *join)
{
	PGconn	   *conn = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin join");

	be_admitted(join, conn);
	PQfinish(conn);
	join_set_state(join, JOIN_INDEXES);
}

/* ---------- joining: indexes ---------- */

/* Completes the schema and makes the group slot; then creates the link from the source. */
static void
join_worker_build_indexes(Joining *join)
{
	if (join->local->copy_schema)
		join_restore_indexes(join);
	FAULT_POINT("join_indexes_restored");
	sql_value(install_capture_sql, 0, NULL);
	sql_value(import_states_sql, 0, NULL);
	FAULT_POINT("join_states_imported");
	sql_value(insert_stable_point_sql, 0, NULL);
	join_progress("making the group slot (waits for transactions that are open here)");
	sql_value(make_group_slot_sql, 0, NULL);
	FAULT_POINT("join_group_slot_made");
	if (!sql_value_int(begin_catching_up_sql, join->local->source_id))
		proc_exit(0);
	join->state = JOIN_CATCHING_UP;
	FAULT_POINT("join_link_made");
}

/* ---------- joining: catching up ---------- */

/* Raises an error if the group has removed this node. */
static void
require_membership(void)
{
	if (sql_value(is_removed_sql, 0, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node was removed from the group while it was joining"),
				 errhint("SELECT replication_plugin.rejoin() on it begins the join anew; leave_group() gives it up.")));
}

/* Returns what is still missing, as text, or NULL if nothing is. */
static char *
still_missing(void)
{
	return sql_value(still_missing_sql, 0, NULL);
}

/* Returns true if the link from the source fails. */
static bool
link_fails(Joining *join)
{
	int			index = link_status_find(MyDatabaseId, join->local->source_id, false);
	LinkStatus	l;

	return index >= 0 && link_status_get(index, &l) && l.failures > 0;
}

/* Waits until the link from the source has brought everything that is needed. */
static void
catch_up(Joining *join)
{
	char	   *missing;
	Moment		asked_at = 0;

	while ((missing = still_missing()) != NULL)
	{
		join_progress("catching up, waiting for %s%s", missing, link_fails(join) ? "; the link from the source fails: see the view links" : "");
		require_membership();
		lacking_places_round(&asked_at);
		worker_wait(POLL_MS);
	}
	join_set_state(join, JOIN_OPENING);
	FAULT_POINT("join_caught_up");
}

/* ---------- joining: opening links ---------- */

/* Pauses the link from the source and waits for its end, so that no worker holds an origin. */
static void
rest_link(Joining *join)
{
	int			index = link_status_find(MyDatabaseId, join->local->source_id, true);
	LinkStatus	l;

	if (index < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg(LINKS_IN_USE, link_status_count()),
				 errhint(LINKS_IN_USE_HINT)));
	sql_value_int(pause_link_sql, join->local->source_id);
	while (link_status_get(index, &l) && (l.pid != 0 || l.state != LINK_PAUSED))
		worker_wait(POLL_MS);
}

/*
 * Creates the origins of the nodes in a frontier, except this node's own. Origins of removed nodes
 * need no place for progress.
 */
static void
make_origins(Joining *join, const Frontier *f)
{
	OwnTransaction t = own_transaction_begin_sql();

	for (int i = 0; i < f->n; i++)
	{
		NodeId		node = f->entries[i].node;
		NodeRow    *row = node == join->local->node_id ? NULL : nodes_by_id(node);

		if (row && strcmp(row->state, "removed") == 0)
			origin_map_create_former(node, f->entries[i].lsn);
		else if (node != join->local->node_id)
			(void) origin_map_create(node);
	}
	own_transaction_end(&t);
}

/*
 * Raises the progress of each origin to what the source had when it admitted this node, and flushes
 * it.
 */
static void
raise_progress(Joining *join)
{
	char	   *text = sql_value(add_frontier_sql, 0, NULL);
	Frontier   *f = text ? frontier_from_text(text) : NULL;
	OwnTransaction t;

	if (!f)
		elog(ERROR, "malformed frontier \"%s\"", text ? text : "");
	make_origins(join, f);
	t = own_transaction_begin();
	LockRelationOid(ReplicationOriginRelationId, RowExclusiveLock);
	for (int i = 0; i < f->n; i++)
	{
		FrontierEntry *e = &f->entries[i];

		if (e->node != join->local->node_id && origin_map_progress(e->node) < e->lsn)
			replorigin_advance(origin_map_origin(e->node), e->lsn, InvalidXLogRecPtr, false, true);
		FAULT_POINT("join_progress_raised");
	}
	own_transaction_end(&t);
	sql_value(flush_point_sql, 0, NULL);
}

/*
 * Makes this node ready, as the last step. It takes local writes once all members know that
 * (group_worker.c).
 */
static void
become_ready(Joining *join)
{
	if (!sql_value(become_ready_sql, 0, NULL))
		proc_exit(0);
	join->state = JOIN_READY;
	FAULT_POINT("join_ready");
	ereport(LOG, (errmsg("node \"%s\" is ready", join->local->node_name)));
}

/* Does the steps of the state "joining: opening links". */
static void
open_links(Joining *join)
{
	join_progress("opening links");
	rest_link(join);
	raise_progress(join);
	if (join->local->copy_data)
		join_copy_sequences(join, false);
	become_ready(join);
}

/* ---------- the worker ---------- */

/* Goes through the remaining states. */
static void
join_group(void)
{
	Joining		join = {0};

	join_pause_after_failures();
	join_read_state(&join);
	if (join.state <= JOIN_COPY)
		copy_snapshot(&join);
	if (join.state == JOIN_ADOPT)
		join_worker_adopt(&join);
	if (join.state == JOIN_INDEXES)
		join_worker_build_indexes(&join);
	if (join.state == JOIN_CATCHING_UP)
		catch_up(&join);
	if (join.state == JOIN_OPENING)
		open_links(&join);
}

void
replication_plugin_join_main(Datum dboid)
{
	MemoryContext context;

	worker_setup(DatumGetObjectId(dboid));
	if (!manager_status_attach_worker(MyDatabaseId, MANAGED_JOIN))
		proc_exit(0);
	origin_map_ensure_loaded();
	context = AllocSetContextCreate(TopMemoryContext, "join", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		join_group();
	}
	PG_CATCH();
	{
		join_note_error(context);
	}
	PG_END_TRY();
	proc_exit(0);
}
