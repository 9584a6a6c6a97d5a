/*
 * apply.c
 *		Applying the transactions of one link: begin, rows, commit.
 *
 * One transaction in, one transaction out: its commit record carries the origin, the
 * origin's LSN and commit timestamp, and moves the origin's progress (this node's
 * frontier) in the same instant. So a crash leaves either all of it or nothing, and a
 * transaction that comes again is known by the frontier.
 *
 * Invariant: this node's clock is past a transaction's timestamp before any row of it is looked for here. A row that is
 * not found, and so cannot be locked, is then written by others with a greater version only.
 *
 * A transaction that changes nothing here (all its rows lost, or it was empty) still
 * gets a commit record that decoding sees, by a logical message: other nodes may
 * depend on being told that it was passed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "pgstat.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/apply.h"
#include "apply/combine.h"
#include "apply/context.h"
#include "apply/doubt.h"
#include "apply/fetch.h"
#include "apply/image_index.h"
#include "apply/keep.h"
#include "apply/park.h"
#include "apply/place.h"
#include "apply/put.h"
#include "apply/remove.h"
#include "apply/row.h"
#include "apply/write.h"
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/pulse.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/waiting_table.h"
#include "shared/activity.h"
#include "shared/clock.h"
#include "shared/origin_map.h"
#include "shared/wall_clock.h"

#define SLOW_ROW_US	100000		/* microseconds that a slow row takes */
#define SLOW_ROWS	3			/* from which on a table can be slow */

/* The origin that this process holds in PostgreSQL's progress tracking. */
static RepOriginId taken_origin = InvalidRepOriginId;

/* Says where an error happened: table, action, transaction. */
static void
error_context(void *arg)
{
	const WireRelation *remote = apply.action ? relation_remote(apply.remote_id) : NULL;

	if (remote)
		errcontext("%s in table \"%s.%s\", transaction %X/%X of node %d",
				   apply.action, remote->nspname, remote->relname,
				   LSN_FORMAT_ARGS(apply.begin.origin_lsn), apply.begin.origin);
	else if (apply.active)
		errcontext("transaction %X/%X of node %d",
				   LSN_FORMAT_ARGS(apply.begin.origin_lsn), apply.begin.origin);
}

/* What comes now is from there. */
static void
take_peer(const ApplyPeer *peer)
{
	apply.provider = peer->provider;
	apply.provider_dsn = peer->dsn;
	apply.seen = peer->seen;
	apply.relid = peer->relid;
	apply.begin.xid = peer->xid;
}

void
apply_init(NodeId provider, const char *provider_dsn, const Frontier *seen)
{
	fetch_disconnect();
	apply.link = (ApplyPeer) {provider, provider_dsn, seen, InvalidTransactionId, 0};
	take_peer(&apply.link);
	if (apply.row_context)
		return;
	apply.row_context = AllocSetContextCreate(TopMemoryContext, "apply row",
											  ALLOCSET_DEFAULT_SIZES);
	wire_tuple_init(&apply.newtup, TopMemoryContext);
	wire_tuple_init(&apply.oldtup, TopMemoryContext);
}

/* What this process commits from here on is a local write again. */
static void
clear_origin(void)
{
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

/* Gives the origin back, so that another worker can have it. */
void
apply_release_origin(void)
{
	clear_origin();
	if (taken_origin != InvalidRepOriginId)
		replorigin_session_reset();
	taken_origin = InvalidRepOriginId;
}

/* ---------- transactions ---------- */

/* The replication origin of a node; one that is new is made by a transaction of its own. */
static RepOriginId
origin_of(NodeId node)
{
	RepOriginId origin = origin_map_origin(node);

	if (origin == InvalidRepOriginId)
	{
		StartTransactionCommand();
		origin = origin_map_create(node);
		CommitTransactionCommand();
	}
	return origin;
}

/* Marks what follows with an origin. */
static void
mark_origin(const WireBegin *begin)
{
	replorigin_session_origin = origin_map_origin(begin->origin);
	Assert(replorigin_session_origin != InvalidRepOriginId);
	replorigin_session_origin_lsn = begin->origin_lsn;
	replorigin_session_origin_timestamp = begin->commit_ts;
}

/* The same, and takes it for this process. */
static void
set_origin(const WireBegin *begin)
{
	RepOriginId origin = origin_map_origin(begin->origin);

	if (taken_origin != origin)
	{
		apply_release_origin();
		replorigin_session_setup(origin);
		taken_origin = origin;
	}
	mark_origin(begin);
}

/*
 * Begins a transaction. The clock is raised before its first row: what a session writes from here on, in rows that
 * this transaction has not found or has passed, is then newer than the transaction, as all nodes will see it.
 */
void
apply_begin(const WireBegin *begin, ApplyMode mode)
{
	if (!mode.nothing || wall_clock_excess(begin->commit_ts) == 0)
		clock_observe(begin->commit_ts);
	(void) origin_of(begin->origin);
	(void) origin_of(ORIGIN_NODE_REPAIR);	/* under which rows make room */
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (mode.kept)
		mark_origin(begin);		/* taken when it commits: meanwhile others apply what comes now */
	else
		set_origin(begin);		/* inside: an error of it releases its lock with the transaction */
	pulse_begin();
	apply.active = true;
	apply.number++;
	apply.begin = *begin;
	apply.link.xid = begin->xid;
	take_peer(&apply.link);
	apply.version = (Version) {begin->commit_ts, begin->origin};
	apply.mode = mode;
	apply.began = moment_now();
	apply.wrote = false;
	apply.significant = false;
	apply.rows = 0;
	apply.doubts = NIL;
	apply.doubtful = InvalidOid;
	apply.keeping = false;
	apply.action = NULL;
	PushActiveSnapshot(GetTransactionSnapshot());
	tombstone_begin_transaction();
}

void
apply_end_rows(void)
{
	ErrorContextCallback callback = {.previous = error_context_stack,.callback = error_context};

	error_context_stack = &callback;
	apply.action = NULL;
	put_flush();
	doubt_check_all();
	error_context_stack = callback.previous;
}

uint64
apply_commit(void)
{
	ErrorContextCallback callback = {.previous = error_context_stack,.callback = error_context};
	uint64		rows = apply.rows;

	apply_end_rows();
	error_context_stack = &callback;
	if (apply.mode.kept)
		set_origin(&apply.begin);
	MemoryContextReset(apply.row_context);
	tombstone_end_transaction();
	park_record();
	fetch_note_passed_over();
	conflict_before_commit(apply.provider);
	relation_close_all();
	target_close_all();
	if (!apply.wrote)
		LogLogicalMessage(PLUGIN_NAME, "", 0, true);
	PopActiveSnapshot();
	put_reset();
	FAULT_POINT("apply_commit_before");
	CommitTransactionCommand();
	FAULT_POINT("apply_commit_after");
	pulse_end();
	clear_origin();
	apply.active = false;
	apply.mode = (ApplyMode) {0};
	if (!apply_was_heartbeat())
		activity_note();
	error_context_stack = callback.previous;
	pgstat_report_stat(false);
	return rows;
}

bool
apply_was_heartbeat(void)
{
	return !apply.significant && apply.rows > 0;
}

void
apply_nothing(const WireBegin *begin)
{
	apply_begin(begin, (ApplyMode) {.nothing = true});
	apply_commit();
}

bool
apply_failed_at_many(void)
{
	return put_is_writing_many();
}

void
apply_reset(void)
{
	tombstone_abort_transaction();
	conflict_abort();
	park_reset();
	fetch_reset();
	put_reset();
	image_index_reset();
	relation_reset();
	target_reset();
	MemoryContextReset(apply.row_context);
	apply.active = false;
	apply.mode = (ApplyMode) {0};
	pulse_end();
	apply_release_origin();
}

/* ---------- rows ---------- */

void
apply_relation(WireReader *r)
{
	apply.action = NULL;
	put_flush();
	relation_store(r);
}

/* True if the table of the row at hand waits: then it has been kept, or passed over. */
static bool
wait_with_table(uint32 remote_id)
{
	const WireRelation *remote;
	const WaitingTable *w;

	if (apply.mode.kept || !waiting_tables() || relation_is_free(remote_id, waiting_tables_reading()) ||
		(remote = relation_remote(remote_id)) == NULL)
		return false;
	put_flush();				/* in the order in which they came; it may run code, so that the list is read again */
	w = keep_needed(remote);
	if (!w)
		relation_note_free(remote_id, waiting_tables_reading());
	else if (w->kept)
		keep_change(remote, w, apply.message, apply.message_len);
	return w != NULL;
}

/*
 * What another node had to keep: a change of a table that may well be written here. It is as that node had it from its own provider. It has nothing of the
 * row, so a value that is missing is asked for there.
 */
static void
apply_envelope(ApplyRelation *ar)
{
	Envelope	e;
	ApplyPeer	peer;
	bool		source_decides = apply.mode.source_decides;

	if (relation_in_use() == RELATIONS_KEPT)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a change that another node has kept holds another one")));
	put_flush();
	(void) row_read(ar, &apply.newtup);
	e = keep_open_envelope(ar);
	peer = (ApplyPeer) {e.provider, NULL, e.seen, e.xid, e.relid};
	take_peer(&peer);
	apply.mode.source_decides = false;	/* it has not been applied there */
	apply_kept(e.relation, e.change);
	put_flush();
	apply.mode.source_decides = source_decides;
	relation_use(RELATIONS_SENT);
	take_peer(&apply.link);
}

/* A row of a table that is gone, or left out, or waits: it is none of ours. */
static void
pass_over_row(MemoryContext context)
{
	apply.significant = true;
	MemoryContextSwitchTo(context);
	if (!put_is_gathering())
		MemoryContextReset(apply.row_context);
	pulse_step();
}

/*
 * Rows of a table whose code is slow, each within row_timeout, must not hold up everything else for hours: then the table waits (receive/table_wait.c). What has been
 * kept of it is applied at its own pace. A single row that was long may have waited for a lock.
 */
static void
check_pace(ApplyRelation *ar, Moment began)
{
	int64		us = moment_now() - began;

	ar->spent += us;
	ar->slow += us > SLOW_ROW_US ? 1 : 0;
	ar->written++;
	if (setting_table_patience == 0 || ar->spent < setting_table_patience * INT64CONST(1000))
		return;
	if (ar->slow >= SLOW_ROWS && ar->slow > ar->written / 2 && !ar->merge && !superuser_arg(ar->owner))
		ereport(ERROR,
				(errcode(ERRCODE_TABLE_TOO_SLOW),
				 errmsg("rows of table \"%s\" take too long: " INT64_FORMAT " of them took " INT64_FORMAT " seconds", RelationGetRelationName(ar->rel),
						ar->written, ar->spent / 1000000),
				 errdetail("replication_plugin.table_patience is %d ms.", setting_table_patience)));
	/* as long as all have been slow, there only were not enough of them: each may have taken nearly row_timeout */
	if (ar->slow <= ar->written / 2)
		ar->spent = ar->slow = ar->written = 0;
}

/* Runs what one row message asks for; of a mergeable table, what that asks for. */
static void
apply_row(const char *action, uint32 remote_id, bool has_old, void (*handler) (ApplyRelation *),
		  void (*merge_handler) (ApplyRelation *))
{
	ErrorContextCallback callback = {.previous = error_context_stack,.callback = error_context};
	MemoryContext old;
	ApplyRelation *ar;
	OwnerContext saved;
	Moment		began;

	error_context_stack = &callback;
	apply.action = action;
	apply.remote_id = remote_id;
	apply.has_old = has_old;
	old = MemoryContextSwitchTo(apply.row_context);
	ar = wait_with_table(remote_id) ? NULL : relation_open_remote(remote_id);
	if (!ar || ar->envelope)
	{
		error_context_stack = callback.previous;
		if (ar && strcmp(action, "INSERT") == 0)
			apply_envelope(ar);
		pass_over_row(old);
		return;
	}
	if (!apply.significant)
		apply.significant = !table_is_frontier(ar->rel);
	if (ar->keyless_there && (ar->merge || (handler != put_insert && handler != remove_all_seen)))
		relation_key_differs(ar);
	if (!ar->placed)
		place_open(ar, apply.mode.careful);

	/* defaults, domains and partition keys are the owner's code as well */
	began = (ar->runs_code || ar->partitioned) && !apply.mode.kept && !apply.mode.unhurried ? moment_now() : 0;
	saved = become_owner(ar);
	if (ar->merge)
		put_flush();			/* before the row is read: flushing resets the memory that it is read into */
	(ar->merge ? merge_handler : handler) (ar);
	become_worker(saved);
	MemoryContextSwitchTo(old);
	if (began != 0)
		check_pace(ar, began);

	/* gathered inserts point into the row context; it is reset when they are written */
	if (!put_is_gathering())
		MemoryContextReset(apply.row_context);
	apply.rows++;
	pulse_step();
	error_context_stack = callback.previous;
}

/* Notes where the message is that has just been read from there on; its type byte stands before. */
static void
note_message(const WireReader *r, int begin)
{
	apply.message = r->data + begin - 1;
	apply.message_len = r->pos - begin + 1;
}

void
apply_insert(WireReader *r)
{
	int			begin = r->pos;
	uint32		id = wire_read_insert(r, &apply.newtup);

	note_message(r, begin);
	apply_row("INSERT", id, false, put_insert, combine_plain_put);
}

void
apply_update(WireReader *r)
{
	int			begin = r->pos;
	bool		has_old;
	uint32		id = wire_read_update(r, &has_old, &apply.oldtup, &apply.newtup);

	note_message(r, begin);
	apply_row("UPDATE", id, has_old, put_update, combine_plain_put);
}

void
apply_delete(WireReader *r)
{
	int			begin = r->pos;
	uint32		id = wire_read_delete(r, &apply.oldtup);

	note_message(r, begin);
	apply_row("DELETE", id, true, remove_row, combine_plain_delete);
}

void
apply_write(WireReader *r)
{
	int			begin = r->pos;
	MemoryContext old = MemoryContextSwitchTo(apply.row_context);

	put_flush();				/* what is read next lives in the memory that this resets */
	wire_read_write(r, &apply.write, &apply.newtup);
	note_message(r, begin);
	MemoryContextSwitchTo(old);
	apply_row("WRITE", apply.write.relid, false, put_write, combine_write);
}

void
apply_truncate(WireReader *r)
{
	int			begin = r->pos;
	int			n;
	uint32	   *ids;

	wire_read_truncate(r, &n, &ids);
	note_message(r, begin);
	for (int i = 0; i < n; i++)
		apply_row("TRUNCATE", ids[i], false, remove_all_seen, remove_all_seen);
}

void
apply_change(WireReader *r, WireMessage type)
{
	switch (type)
	{
		case WIRE_INSERT:
			apply_insert(r);
			break;
		case WIRE_UPDATE:
			apply_update(r);
			break;
		case WIRE_DELETE:
			apply_delete(r);
			break;
		case WIRE_TRUNCATE:
			apply_truncate(r);
			break;
		case WIRE_WRITE:
			apply_write(r);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a message that should be of a row is none")));
	}
}

void
apply_kept(WireReader relation, WireReader change)
{
	WireMessage type;

	put_flush();
	relation_use(RELATIONS_KEPT);
	relation_store_kept(&relation);
	type = wire_read_type(&change);
	apply_change(&change, type);
}

void
apply_message_begin(void)
{
	apply.action = NULL;
	relation_use(RELATIONS_SENT);
	take_peer(&apply.link);
}
