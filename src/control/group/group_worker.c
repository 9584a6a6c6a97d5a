/*
 * group_worker.c
 *		Reports to the group how far this node is, and removes what no member needs any more.
 *
 * One process runs for each database that is a ready member. It
 *
 * - makes the group slot, and moves it over what all members have;
 * - lets a node that has just become ready take writes once all members know about it;
 * - writes this node's frontier row: after commits that are more than frontier rows of others, once
 *   after every start, when this node has fenced itself from a removed node, when a link goes down
 *   or comes back, and when much WAL has been written on this node or on another one
 *   (docs/protocol.md, Frontier row);
 * - forgets writes that were passed over once this node has what replaces them;
 * - removes tombstones behind the group slot (control/group/collector.c).
 *
 * How the group slot moves: After each frontier row, the worker notes the position of the row in
 * the local WAL, and the frontier that covers everything before it. Once the stable vector covers
 * that frontier, every member has everything before the position. The notes are in memory only: a
 * new process notes new positions, and the slot waits for those.
 *
 * How tombstones are removed: A note has the oldest transaction that was running before its
 * position. All older transactions had ended, so their tombstones are before the position.
 *
 * The stable vector itself is maintained by a trigger (raise_stable_point) in the transactions that
 * bring frontier rows.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "storage/standby.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/fault_point.h"
#include "base/full_xid.h"
#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/group/collector.h"
#include "control/group/settle.h"
#include "control/workers/lacking_places.h"
#include "control/workers/manager_sql.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "model/stable.h"
#include "shared/activity.h"
#include "shared/local_frontier.h"
#include "shared/manager_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"
#include "shared/seen.h"

#define MAX_NOTES			64
/* bytes of any node's WAL after which a frontier row is written in any case */
#define ROW_AFTER_WAL		(16 * 1024 * 1024)
/* the group slot moves over at least this many bytes, or ... */
#define ADVANCE_AFTER_WAL	(64 * 1024 * 1024)
#define ADVANCE_INTERVALS	10	/* ... after this many frontier_intervals */
#define QUIET_INTERVALS		3	/* the group is at rest if hardly any WAL was written for so many */
#define QUIET_WAL			(256 * 1024)

static const char group_slot_state_sql[] =
	"SELECT CASE WHEN NOT p.slot_made THEN 'missing'"
	" WHEN r.slot_name IS NULL OR r.wal_status = 'lost' THEN 'lost'"
	" WHEN replication_plugin.group_slot_is_ahead() THEN 'ahead' END"
	" FROM replication_plugin.stable_point p LEFT JOIN pg_replication_slots r"
	" ON r.slot_name = replication_plugin.group_slot_name()";
static const char make_group_slot_sql[] = "SELECT replication_plugin.make_group_slot()";
static const char note_slot_gone_sql[] =
	"SELECT replication_plugin.note_expulsion('needs_rejoin',"
	" 'the group slot of this node is gone:"
	" what others may lack is no longer kept here HINT: SELECT replication_plugin.rejoin()')";
static const char move_group_slot_sql[] =
	"SELECT pg_replication_slot_advance(slot_name, $1::pg_lsn) FROM pg_replication_slots"
	" WHERE slot_name = replication_plugin.group_slot_name() AND confirmed_flush_lsn < $1::pg_lsn";
static const char stable_point_sql[] = "SELECT vector FROM replication_plugin.stable_point";
static const char move_stable_point_sql[] =
	"UPDATE replication_plugin.stable_point"
	" SET slot_vector = $1, stable_xid = $2::bigint, stable_seen = $3,"
	" slot_lsn = $4::pg_lsn";
static const char forget_rewrites_sql[] =
	"WITH gone AS (DELETE FROM replication_plugin.table_rewrite w"
	" USING replication_plugin.stable_point p"
	"  WHERE w.xid < p.stable_xid AND NOT EXISTS (SELECT FROM replication_plugin.waiting_table t"
	" JOIN pg_class c ON c.relname = t.table_name"
	"   JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schema_name"
	" WHERE c.oid = w.relid) RETURNING w.xid & 4294967295 AS writer)"
	" DELETE FROM replication_plugin.row_pin r USING gone g WHERE r.writer = g.writer";
static const char told_state_sql[] =
	"SELECT replication_plugin.group_view()"
	" || ' ' || (SELECT coalesce(string_agg(f::text, ','), '')"
	" FROM unnest(replication_plugin.fenced_nodes()) f)"
	" || ' ' || (SELECT coalesce(string_agg(format('%s %s %s %s', provider, kind, full_origins,"
	"  state IN ('streaming', 'catching up', 'blocked', 'retrying')), ',' ORDER BY provider), '')"
	"  FROM replication_plugin.link_states())";
static const char note_first_row_sql[] =
	"UPDATE replication_plugin.local_node SET run_row = $1::pg_lsn WHERE run_row IS NULL";
static const char tell_version_sql[] = "SELECT replication_plugin.tell_version()";
static const char write_frontier_row_sql[] = "SELECT replication_plugin.write_frontier_row()";
static const char touch_member_ready_sql[] =
	"UPDATE replication_plugin.member_ready SET ready_at = ready_at WHERE node_id = $1::integer"
	" RETURNING 1";
static const char own_frontier_row_sql[] =
	"SELECT f.vector FROM replication_plugin.frontier f JOIN replication_plugin.local_node l"
	" USING (node_id)";
static const char set_ready_at_sql[] =
	"UPDATE replication_plugin.member_ready m SET ready_at = clock_timestamp()"
	" FROM replication_plugin.local_node l"
	" WHERE m.node_id = l.node_id AND NOT l.announced RETURNING 1";
static const char announce_sql[] = "SELECT replication_plugin.announce($1::pg_lsn)";
static const char forget_awaited_sql[] =
	"DELETE FROM replication_plugin.awaited_state a USING replication_plugin.stable_point p"
	" WHERE replication_plugin.frontier_covers(replication_plugin.frontier(), a.until)"
	" OR replication_plugin.frontier_covers(p.vector, a.until)";
static const char group_slot_positions_sql[] =
	"SELECT restart_lsn || ' ' || confirmed_flush_lsn FROM pg_replication_slots"
	" WHERE slot_name = replication_plugin.group_slot_name()";
static const char member_state_sql[] =
	"SELECT state FROM replication_plugin.local_node WHERE state IN ('ready', 'leaving')";
static const char fenced_nodes_sql[] =
	"SELECT string_agg(f::text, ' ') FROM unnest(replication_plugin.fenced_nodes()) f";
static const char my_id_sql[] = "SELECT node_id FROM replication_plugin.local_node";

typedef struct Note
{
	XLogRecPtr	position;
	Frontier   *covers;			/* everything before the position */
	TransactionId oldest;		/* older transactions ended before the position */
	Frontier   *seen;			/* seen_through() at that time */
} Note;

typedef struct GroupWorker
{
	NodeId		me;
	MemoryContext round;		/* reset in each round */
	Note		notes[MAX_NOTES];	/* oldest first; vectors in TopMemoryContext */
	int			nnotes;
	bool		row_written;
	bool		healthy;		/* has completed a round */
	bool		slot_is_ahead;	/* someone has moved the group slot */
	Moment		asked_at;		/* ... and all members were asked to answer at this time */
	bool		announced;		/* all members know that this node is ready */
	XLogRecPtr	announced_at;	/* ... once they have this local transaction */
	Moment		places_asked_at;	/* of lacking_places_round() */
	uint64		told;			/* activity_count() before the last row */
	Frontier   *told_frontier;	/* in the last row */
	char	   *told_state;		/* view, fenced nodes and links in the last row */
	Moment		row_at;
	Moment		advanced_at;
	XLogRecPtr	moved_to;		/* all members have everything before this position */
	XLogRecPtr	kept_from;		/* the slot kept WAL from here on, ... */
	Moment		kept_looked_at; /* ... at this moment */
	XLogRecPtr	given_back_at;	/* end of the WAL when old WAL was last given back */
	/* 2: all members must answer the next row; 1: the row after that must be written */
	int			gives_back;
	XLogRecPtr	quiet_end;		/* little WAL has been written since it ended here, ... */
	Moment		quiet_since;	/* ... at this moment */
	Collector	collector;
	Settling	settling;
} GroupWorker;

/* ---------- the group slot ---------- */

/*
 * Reports that someone has moved the group slot or has made another one, and clears that later. The
 * existing slots still send what the group slot passed over. Until all members have that, no slot
 * can be copied from the group slot.
 */
static void
tell_of_moved_slot(GroupWorker *worker, bool is_ahead)
{
	const char *text = "the group slot of this node was moved by somebody, and does not have what other members may lack";

	if (is_ahead && !worker->slot_is_ahead)
	{
		ereport(WARNING,
				(errmsg("%s", text),
				 errhint("It is made good when all members have what was written here. Until then no other slot of this node must be lost.")));
		sql_note_error(psprintf("group worker: %s", text));
	}
	else if (!is_ahead && worker->slot_is_ahead)
		worker->healthy = false;	/* clears the error in the view nodes */
	worker->slot_is_ahead = is_ahead;
}

/*
 * Makes the group slot once. If it is lost later, this node can no longer give other members what
 * they may lack, so it must rejoin.
 */
static void
tend_group_slot(GroupWorker *worker)
{
	char	   *state = sql_value(group_slot_state_sql, 0, NULL);

	tell_of_moved_slot(worker, state && strcmp(state, "ahead") == 0);
	if (!state || strcmp(state, "ahead") == 0)
		return;
	if (strcmp(state, "missing") == 0)
	{
		sql_value(make_group_slot_sql, 0, NULL);
		return;
	}
	sql_value(note_slot_gone_sql, 0, NULL);
	ereport(LOG,
			(errmsg("the group slot of this node is gone"),
			 errhint("SELECT replication_plugin.rejoin() makes it a member again, with the rows of the others.")));
	proc_exit(0);
}

/* Frees the vectors of a note. */
static void
free_note(Note *note)
{
	frontier_free(note->covers);
	frontier_free(note->seen);
}

/* Forgets the first n notes. */
static void
drop_notes(GroupWorker *worker, int n)
{
	Assert(n > 0 && n <= worker->nnotes);
	for (int i = 0; i < n; i++)
		free_note(&worker->notes[i]);
	memmove(&worker->notes[0], &worker->notes[n], (worker->nnotes - n) * sizeof(Note));
	worker->nnotes -= n;
}

/* Drops every second note to make room. */
static void
thin_notes(GroupWorker *worker)
{
	int			kept = 0;

	for (int i = 0; i < worker->nnotes; i++)
	{
		if (i % 2 == 1)
			worker->notes[kept++] = worker->notes[i];
		else
			free_note(&worker->notes[i]);
	}
	worker->nnotes = kept;
}

/* Returns this node's seen vector, in TopMemoryContext. */
static Frontier *
seen_now(void)
{
	OwnTransaction t = sql_transaction_begin();
	MemoryContext old;
	Frontier   *seen;

	old = MemoryContextSwitchTo(TopMemoryContext);
	seen = seen_through();
	MemoryContextSwitchTo(old);
	own_transaction_end(&t);
	return seen;
}

/* Notes a position of the local WAL with what is known about everything before it. */
static void
take_note(GroupWorker *worker, XLogRecPtr position, TransactionId oldest)
{
	MemoryContext old;
	Frontier   *f;
	Frontier   *seen = seen_now();

	if (worker->nnotes == MAX_NOTES)
		thin_notes(worker);
	Assert(worker->nnotes < MAX_NOTES);
	old = MemoryContextSwitchTo(TopMemoryContext);
	f = local_frontier(worker->me);
	MemoryContextSwitchTo(old);
	frontier_set_lsn(f, worker->me, position);
	worker->notes[worker->nnotes++] = (Note) {position, f, oldest, seen};
}

/* Moves the group slot. Decoding would log two messages each time, which are suppressed. */
static void
move_group_slot(XLogRecPtr to)
{
	char	   *level = pstrdup(GetConfigOption("log_min_messages", false, false));
	const char *params[1] = {psprintf("%X/%X", LSN_FORMAT_ARGS(to))};

	FAULT_POINT("group_slot_moves");
	SetConfigOption("log_min_messages", "fatal", PGC_SUSET, PGC_S_OVERRIDE);
	PG_TRY();
	{
		sql_value(move_group_slot_sql, 1, params);
	}
	PG_FINALLY();
	{
		SetConfigOption("log_min_messages", level, PGC_SUSET, PGC_S_OVERRIDE);
	}
	PG_END_TRY();
	FAULT_POINT("group_slot_moved");
}

/*
 * Moves the group slot over everything that is stable, if it is worthwhile. Before that, the
 * frontier rows that justify the move are flushed, and the vector is stored: a process that copies
 * the slot reads the vector afterwards.
 */
static void
advance_group_slot(GroupWorker *worker)
{
	char	   *text = sql_value(stable_point_sql, 0, NULL);
	Frontier   *stable = text ? frontier_from_text(text) : NULL;
	const char *params[4];
	int			n = 0;

	while (stable && n < worker->nnotes && stable_covers(stable, worker->notes[n].covers))
		n++;
	if (n == 0)
		return;
	if (worker->notes[n - 1].position - worker->notes[0].position < ADVANCE_AFTER_WAL &&
		!moment_is_past(worker->advanced_at,
									ADVANCE_INTERVALS * setting_frontier_interval))
		return;
	params[0] = text;
	params[1] = psprintf(UINT64_FORMAT, full_xid_of(worker->notes[n - 1].oldest));
	params[2] = frontier_to_text(worker->notes[n - 1].seen);
	params[3] = psprintf("%X/%X", LSN_FORMAT_ARGS(worker->notes[n - 1].position));
	sql_value(move_stable_point_sql, 4, params);
	sql_value(forget_rewrites_sql, 0, NULL);
	XLogFlush(XactLastCommitEnd);
	move_group_slot(worker->notes[n - 1].position);
	worker->moved_to = worker->notes[n - 1].position;
	collector_stable(&worker->collector, worker->notes[n - 1].oldest, params[2]);
	worker->advanced_at = moment_now();
	drop_notes(worker, n);
}

/* ---------- the frontier row ---------- */

/*
 * Returns what a frontier row tells besides the frontier, as text. A change of it is worth a new
 * row.
 */
static char *
told_state(void)
{
	return sql_value(told_state_sql, 0, NULL);
}

/*
 * Returns true if some node has written much WAL since the last row, even if no other node receives
 * it: the group slot of that node moves over that WAL once all members report that they have it. An
 * answer is little WAL, so this comes to rest.
 */
static bool
much_written(GroupWorker *worker)
{
	NodeId	   *nodes;
	int			n = origin_map_nodes(&nodes);

	for (int i = 0; i < n; i++)
	{
		XLogRecPtr lsn = nodes[i] == worker->me ? InvalidXLogRecPtr : origin_map_progress(nodes[i]);

		if (lsn != InvalidXLogRecPtr &&
			lsn > frontier_lsn(worker->told_frontier, nodes[i]) + ROW_AFTER_WAL)
			return true;
	}
	return GetXLogInsertRecPtr() > frontier_lsn(worker->told_frontier, worker->me) + ROW_AFTER_WAL;
}

/* Returns true if there is something to report. */
static bool
want_row(GroupWorker *worker, const char *state)
{
	return !worker->row_written || worker->gives_back > 0 || activity_count() != worker->told ||
		strcmp(state, worker->told_state) != 0 || much_written(worker);
}

/* Notes the first frontier row of a run of the server. Links wait for it (check_run()). */
static void
note_first_row(XLogRecPtr end)
{
	const char *params[1] = {psprintf("%X/%X", LSN_FORMAT_ARGS(end))};

	sql_value(note_first_row_sql, 1, params);
}

/* Writes the frontier row if it is due, and notes its position. */
static void
tell_frontier(GroupWorker *worker)
{
	uint64		count = activity_count();
	TransactionId oldest;
	char	   *state;

	if (worker->row_written && !moment_is_past(worker->row_at, setting_frontier_interval))
		return;
	state = told_state();
	if (!want_row(worker, state))
		return;
	/* who has the first row of a run knows the version that the node has now */
	if (!worker->row_written)
		sql_value(tell_version_sql, 0, NULL);
	oldest = oldest_active_xid();
	sql_value(write_frontier_row_sql, 0, NULL);
	FAULT_POINT("frontier_row_committed");
	take_note(worker, XactLastCommitEnd, oldest);
	if (!worker->row_written)
		note_first_row(XactLastCommitEnd);
	worker->told = count;
	frontier_merge(worker->told_frontier, worker->notes[worker->nnotes - 1].covers);
	if (worker->told_state)
		pfree(worker->told_state);
	worker->told_state = MemoryContextStrdup(TopMemoryContext, state);
	worker->row_at = moment_now();
	worker->row_written = true;
	Assert(worker->gives_back >= 0 && worker->gives_back <= 2);
	if (worker->gives_back == 2)
		sql_value_int(touch_member_ready_sql, worker->me);
	worker->gives_back = Max(worker->gives_back - 1, 0);
}

/*
 * Restores, after a start of the server, the commit timestamps of the newest applied transaction of
 * each origin, as far as the last frontier row has them.
 */
static void
restore_timestamps(GroupWorker *worker)
{
	char	   *text = sql_value(own_frontier_row_sql, 0, NULL);
	Frontier   *f = text ? frontier_from_text(text) : NULL;

	for (int i = 0; f && i < f->n; i++)
	{
		if (f->entries[i].ts != PG_INT64_MIN && f->entries[i].node != worker->me)
			origin_hold_note(f->entries[i].node, InvalidXLogRecPtr, f->entries[i].ts);
	}
}

/* Lets a node that has just become ready take writes once all members know that it is ready. */
static void
group_worker_announce(GroupWorker *worker)
{
	const char *params[1];

	if (worker->announced)
		return;
	if (worker->announced_at == InvalidXLogRecPtr)
	{
		/* a transaction that the members' frontier rows will cover */
		if (!sql_value(set_ready_at_sql, 0, NULL))
		{
			worker->announced = true;
			return;
		}
		worker->announced_at = XactLastCommitEnd;
	}
	params[0] = psprintf("%X/%X", LSN_FORMAT_ARGS(worker->announced_at));
	worker->announced = strcmp(sql_value(announce_sql, 1, params), "t") == 0;
	if (worker->announced)
		lacking_places_end();
	else
		lacking_places_round(&worker->places_asked_at);
}

/*
 * Forgets writes that were passed over (catalog/awaited.h). A removed node may have nothing more to
 * send: then the agreement of all members (the stable vector) suffices.
 */
static void
forget_awaited(void)
{
	sql_value(forget_awaited_sql, 0, NULL);
}

/*
 * Reads the position from which the group slot keeps WAL, and its confirmed position. Returns false
 * if there is no slot.
 */
static bool
read_group_slot(XLogRecPtr *restart, XLogRecPtr *confirmed)
{
	char	   *text = sql_value(group_slot_positions_sql, 0, NULL);
	uint32		part[4];

	if (!text || sscanf(text, "%X/%X %X/%X", &part[0], &part[1], &part[2], &part[3]) != 4)
		return false;
	*restart = ((uint64) part[0] << 32) | part[1];
	*confirmed = ((uint64) part[2] << 32) | part[3];
	return true;
}

/*
 * Starts the release of old WAL when the group has come to rest after a burst of writes. At rest no
 * frontier row is written, so the group slot does not move, and the server keeps the WAL of the
 * burst: for moving on, decoding needs a later record of running transactions. That record is
 * written here; then follow a frontier row and a change that all members answer, with answers that
 * cover the row; and then another row, since the others' positions may cover that change by now.
 */
static void
give_back_wal(GroupWorker *worker)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();
	XLogRecPtr	confirmed;

	if (end - worker->quiet_end > QUIET_WAL)
	{
		worker->quiet_end = end;
		worker->quiet_since = moment_now();
	}
	if (end - worker->kept_from < ROW_AFTER_WAL || activity_count() != worker->told ||
		!moment_is_past(worker->quiet_since, QUIET_INTERVALS * setting_frontier_interval) ||
		!moment_is_past(worker->kept_looked_at, ADVANCE_INTERVALS * setting_frontier_interval))
		return;
	worker->kept_looked_at = moment_now();
	if (!read_group_slot(&worker->kept_from, &confirmed) || end - worker->kept_from < ROW_AFTER_WAL)
		return;
	/* a member that has not answered the last one will not answer another one */
	if (confirmed < worker->given_back_at && end - worker->given_back_at < ROW_AFTER_WAL)
		return;
	worker->given_back_at = end;
	(void) LogStandbySnapshot();
	worker->gives_back = 2;
}

/* ---------- the worker ---------- */

/* Returns true while this node is a ready or leaving member. */
static bool
group_worker_is_member(void)
{
	char	   *state = sql_value(member_state_sql, 0, NULL);

	return state != NULL;
}

/*
 * Asks all members for answers if someone has moved the group slot. The slot is good again once all
 * members have answered a later row, which a group at rest does not write.
 */
static void
ask_for_answers(GroupWorker *worker)
{
	if (!worker->slot_is_ahead || worker->gives_back > 0 ||
		!moment_is_past(worker->asked_at, ADVANCE_INTERVALS * setting_frontier_interval))
		return;
	worker->asked_at = moment_now();
	worker->gives_back = 2;
}

/*
 * Frees the replication state of origins of removed nodes, one in a round, once all members have
 * what any of them has of that node. Each rejoin leaves one such origin, and there are only
 * max_replication_slots states (since 18: max_active_replication_origins).
 */
static void
retire_origins(void)
{
	char	   *list = sql_value(fenced_nodes_sql, 0, NULL);
	char	   *text = list ? sql_value(stable_point_sql, 0, NULL) : NULL;
	Frontier   *stable = text ? frontier_from_text(text) : NULL;
	char	   *save = NULL;

	for (char *item = stable ? strtok_r(list, " ", &save) : NULL; item;
		 item = strtok_r(NULL, " ", &save))
	{
		NodeId		node = atoi(item);

		if (!origin_map_has_place(node) || origin_hold_is_held(node) ||
			frontier_lsn(stable, node) < origin_map_progress(node))
			continue;
		origin_map_retire(node);
		return;
	}
}

/* Does one round. */
static void
group_worker_work(GroupWorker *worker)
{
	MemoryContextSwitchTo(worker->round);
	tend_group_slot(worker);
	tell_frontier(worker);
	group_worker_announce(worker);
	advance_group_slot(worker);
	give_back_wal(worker);
	ask_for_answers(worker);
	collector_work(&worker->collector);
	forget_awaited();
	retire_origins();
	origin_map_secure_progress();
	settle_tables(&worker->settling, worker->moved_to);
	if (!worker->healthy && !worker->slot_is_ahead)
		sql_clear_error("group worker: %");
	worker->healthy = true;
	MemoryContextReset(worker->round);
	worker_wait(Min(setting_frontier_interval / 4 + 1, 1000));
}

/*
 * Shows the current error in the view nodes and raises it again. The manager restarts this worker
 * after a pause.
 */
static void
group_worker_note_error(void)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	origin_abort_transaction();
	if (MyReplicationSlot)
		ReplicationSlotRelease();
	sql_note_error(psprintf("group worker: %s%s%s", edata->message, edata->hint ? " HINT: " : "",
							edata->hint ? edata->hint : ""));
	ReThrowError(edata);
}

void
replication_plugin_group_main(Datum dboid)
{
	GroupWorker worker = {0};
	char	   *id;

	worker_setup(DatumGetObjectId(dboid));
	worker_plan_once();
	if (!manager_status_attach_worker(MyDatabaseId, MANAGED_GROUP))
		proc_exit(0);
	origin_map_ensure_loaded();
	MemoryContextSwitchTo(TopMemoryContext);
	worker.told_frontier = frontier_create();
	worker.round = AllocSetContextCreate(TopMemoryContext, "group round", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(worker.round);
	id = sql_value(my_id_sql, 0, NULL);
	if (!id)
		proc_exit(0);
	worker.me = atoi(id);
	(void) activity_count();
	PG_TRY();
	{
		restore_timestamps(&worker);
		while (group_worker_is_member())
			group_worker_work(&worker);
	}
	PG_CATCH();
	{
		group_worker_note_error();
	}
	PG_END_TRY();
	proc_exit(0);
}
