/*
 * apply.c
 *		Applies the transactions of one link: begin, rows, commit.
 *
 * One remote transaction is applied as one local transaction. The commit record of that transaction
 * carries the replication origin, the LSN at the origin and the commit timestamp, and it advances
 * the progress of the origin (the frontier of this node) atomically. A crash therefore leaves
 * either the whole transaction or nothing of it, and the frontier identifies a transaction that
 * arrives again.
 *
 * Invariant: the clock of this node is ahead of the timestamp of a transaction before any of its
 * rows is searched for here. A row that is not found cannot be locked, but other writers can then
 * write it only with a greater version.
 *
 * A transaction that changes nothing here (because all its rows lost their conflicts, or because it
 * is empty) still gets a commit record that logical decoding sees, by means of a logical message.
 * Other nodes may depend on learning that the transaction was passed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "pgstat.h"
#include "replication/message.h"
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
#include "apply/session_origin.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/pulse.h"
#include "base/session.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/waiting_table.h"
#include "shared/activity.h"
#include "shared/clock.h"
#include "shared/origin_map.h"
#include "shared/wall_clock.h"

#define SLOW_ROW_US	100000		/* a row that takes longer, in microseconds, is slow */
#define SLOW_ROWS	3			/* number of slow rows from which on a table can be slow */

/* Error context callback: names the action, the table and the transaction. */
static void
apply_error_context(void *arg)
{
	ApplyContext *cx = arg;
	const WireRelation *remote = cx->action ? relation_remote(cx, cx->remote_id) : NULL;

	if (remote)
		errcontext("%s in table \"%s.%s\", transaction %X/%X of node %d",
				   cx->action, remote->nspname, remote->relname,
				   LSN_FORMAT_ARGS(cx->begin.origin_lsn), cx->begin.origin);
	else if (cx->active)
		errcontext("transaction %X/%X of node %d",
				   LSN_FORMAT_ARGS(cx->begin.origin_lsn), cx->begin.origin);
}

/* Sets the node from which the following changes come. */
static void
take_peer(ApplyContext *cx, const ApplyPeer *peer)
{
	cx->provider = peer->provider;
	cx->provider_dsn = peer->dsn;
	cx->seen = peer->seen;
	cx->relid = peer->relid;
	cx->begin.xid = peer->xid;
}

ApplyContext *
apply_create(void)
{
	ApplyContext *cx = MemoryContextAllocZero(TopMemoryContext, sizeof(ApplyContext));

	cx->link.provider = cx->provider = cx->conn_to = INVALID_NODE_ID;
	cx->row_context = AllocSetContextCreate(TopMemoryContext, "apply row",
											ALLOCSET_DEFAULT_SIZES);
	wire_tuple_init(&cx->newtup, TopMemoryContext);
	wire_tuple_init(&cx->oldtup, TopMemoryContext);
	relations_create(cx);
	put_create(cx);
	return cx;
}

void
apply_init(ApplyContext *cx, NodeId provider, const char *provider_dsn, const Frontier *seen)
{
	Assert(!cx->active);
	fetch_disconnect(cx);
	cx->link = (ApplyPeer) {provider, provider_dsn, seen, InvalidTransactionId, 0};
	take_peer(cx, &cx->link);
}

/* ---------- transactions ---------- */

/* Returns the replication origin of a node. Creates a missing origin in a separate transaction. */
static RepOriginId
origin_of(NodeId node)
{
	RepOriginId origin = origin_map_origin(node);

	if (origin == InvalidRepOriginId)
	{
		OwnTransaction t = own_transaction_begin();

		origin = origin_map_create(node);
		own_transaction_end(&t);
	}
	return origin;
}

/*
 * Begins a transaction. The clock is raised before the first row is applied. Whatever a session
 * writes from then on, to rows that this transaction has not found or has already processed, is
 * therefore newer than this transaction on all nodes.
 */
void
apply_begin(ApplyContext *cx, const WireBegin *begin, ApplyMode mode)
{
	Assert(!cx->active && !IsTransactionState() && !put_is_gathering(cx));
	Assert(cx->parked == NIL && cx->passed_over == NIL);
	Assert(!mode.kept || (mode.careful && !mode.nothing && !mode.unversioned));
	if (!mode.nothing || wall_clock_excess(begin->commit_ts) == 0)
		clock_observe(begin->commit_ts);
	(void) origin_of(begin->origin);
	(void) origin_of(ORIGIN_NODE_REPAIR);	/* the origin under which rows are parked */
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	session_origin_mark(begin, !mode.kept);
	pulse_begin();
	cx->active = true;
	cx->number++;
	cx->begin = *begin;
	cx->link.xid = begin->xid;
	take_peer(cx, &cx->link);
	cx->version = (Version) {begin->commit_ts, begin->origin};
	cx->mode = mode;
	cx->began = moment_now();
	cx->wrote = false;
	cx->significant = false;
	cx->rows = 0;
	cx->doubts = NIL;
	cx->doubtful = InvalidOid;
	cx->keeping = false;
	cx->action = NULL;
	PushActiveSnapshot(GetTransactionSnapshot());
	tombstone_begin_transaction();
}

void
apply_end_rows(ApplyContext *cx)
{
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = apply_error_context,
									 .arg = cx};

	error_context_stack = &callback;
	cx->action = NULL;
	put_flush(cx);
	doubt_check_all(cx);
	Assert(cx->active && cx->doubts == NIL && !put_is_gathering(cx));
	error_context_stack = callback.previous;
}

uint64
apply_commit(ApplyContext *cx)
{
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = apply_error_context,
									 .arg = cx};
	uint64		rows = cx->rows;

	apply_end_rows(cx);
	error_context_stack = &callback;
	session_origin_take(&cx->begin);
	MemoryContextReset(cx->row_context);
	tombstone_end_transaction();
	park_record(cx);
	fetch_note_passed_over(cx);
	conflict_before_commit(cx->provider);
	relation_close_all(cx);
	target_close_all();
	Assert(cx->parked == NIL && cx->passed_over == NIL && cx->rows == rows);
	if (!cx->wrote)
		log_message(PLUGIN_NAME, "", 0, true);
	PopActiveSnapshot();
	put_reset(cx);
	FAULT_POINT("apply_commit_before");
	CommitTransactionCommand();
	FAULT_POINT("apply_commit_after");
	pulse_end();
	session_origin_unmark();
	cx->active = false;
	cx->mode = (ApplyMode) {0};
	if (!apply_was_heartbeat(cx))
		activity_note();
	error_context_stack = callback.previous;
	pgstat_report_stat(false);
	return rows;
}

bool
apply_was_heartbeat(ApplyContext *cx)
{
	return !cx->significant && cx->rows > 0;
}

void
apply_nothing(ApplyContext *cx, const WireBegin *begin)
{
	apply_begin(cx, begin, (ApplyMode) {.nothing = true});
	apply_commit(cx);
}

bool
apply_failed_at_many(ApplyContext *cx)
{
	return put_is_writing_many(cx);
}

void
apply_reset(ApplyContext *cx)
{
	tombstone_abort_transaction();
	conflict_abort();
	park_reset(cx);
	fetch_reset(cx);
	put_reset(cx);
	image_index_reset();
	relation_reset(cx);
	target_reset();
	MemoryContextReset(cx->row_context);
	cx->active = false;
	cx->mode = (ApplyMode) {0};
	pulse_end();
	session_origin_release();
}

/* ---------- rows ---------- */

void
apply_relation(ApplyContext *cx, WireReader *r)
{
	Assert(relation_in_use(cx) == RELATIONS_SENT);
	cx->action = NULL;
	put_flush(cx);
	relation_store(cx, r);
}

/* Returns true if the table of the current row waits; the row was then kept or passed over. */
static bool
wait_with_table(ApplyContext *cx, uint32 remote_id)
{
	const WireRelation *remote;
	const WaitingTable *w;

	if (cx->mode.kept || !waiting_tables() ||
		relation_is_free(cx, remote_id, waiting_tables_reading()) ||
		(remote = relation_remote(cx, remote_id)) == NULL)
		return false;
	/*
	 * Write gathered inserts first, to keep the order. This may run code, so read the list again.
	 */
	put_flush(cx);
	w = keep_needed(remote);
	if (!w)
		relation_note_free(cx, remote_id, waiting_tables_reading());
	else if (w->kept)
		keep_change(cx, remote, w, cx->message, cx->message_len);
	return w != NULL;
}

/*
 * Applies a change that another node kept because its table waits there; the table need not wait
 * here. The change has the form in which that node received it from its own provider. The envelope
 * does not contain the rest of the row, so missing values are fetched from that node's provider.
 */
static void
apply_envelope(ApplyRelation *ar)
{
	ApplyContext *cx = ar->cx;
	Envelope	e;
	ApplyPeer	peer;
	bool		source_decides = cx->mode.source_decides;

	if (relation_in_use(cx) == RELATIONS_KEPT)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a change that another node has kept holds another one")));
	Assert(!cx->mode.kept);
	put_flush(cx);
	(void) row_read(ar, &cx->newtup);
	e = keep_open_envelope(ar);
	peer = (ApplyPeer) {e.provider, NULL, e.seen, e.xid, e.relid};
	take_peer(cx, &peer);
	cx->mode.source_decides = false;	/* the kept change was not applied on that node */
	apply_kept(cx, e.relation, e.change);
	put_flush(cx);
	cx->mode.source_decides = source_decides;
	relation_use(cx, RELATIONS_SENT);
	take_peer(cx, &cx->link);
}

/* Passes over a row whose table is gone, is excluded, or waits. */
static void
pass_over_row(ApplyContext *cx, MemoryContext context)
{
	cx->significant = true;
	MemoryContextSwitchTo(context);
	if (!put_is_gathering(cx))
		MemoryContextReset(cx->row_context);
	pulse_step();
}

/*
 * Raises an error if the rows of a table take too long. The code of a table may be slow although
 * each row stays within row_timeout; such a table must not delay everything else for hours. The
 * error makes the table wait (receive/table_wait.c), and its kept changes are then applied at their
 * own pace. A single slow row proves nothing, because it may have waited for a lock.
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
	if (ar->slow >= SLOW_ROWS && ar->slow > ar->written / 2 && !ar->merge &&
		!superuser_arg(ar->owner))
		ereport(ERROR,
				(errcode(ERRCODE_TABLE_TOO_SLOW),
				 errmsg("rows of table \"%s\" take too long: " INT64_FORMAT " of them took " INT64_FORMAT " seconds", RelationGetRelationName(ar->rel),
						ar->written, ar->spent / 1000000),
				 errdetail("replication_plugin.table_patience is %d ms.", setting_table_patience)));
	/*
	 * Keep counting while most of the rows are slow: there may merely have been too few of them,
	 * each of which took nearly row_timeout.
	 */
	if (ar->slow <= ar->written / 2)
		ar->spent = ar->slow = ar->written = 0;
}

/* Applies one row message by its handler, or by its merge handler if the table is mergeable. */
static void
apply_row(ApplyContext *cx, const char *action, uint32 remote_id, bool has_old,
		  void (*handler)(ApplyRelation *), void (*merge_handler)(ApplyRelation *))
{
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = apply_error_context,
									 .arg = cx};
	MemoryContext old;
	ApplyRelation *ar;
	OwnerContext saved;
	Moment		began;

	Assert(cx->active && !cx->mode.nothing);
	Assert(!cx->mode.kept || relation_in_use(cx) == RELATIONS_KEPT);
	error_context_stack = &callback;
	cx->action = action;
	cx->remote_id = remote_id;
	cx->has_old = has_old;
	old = MemoryContextSwitchTo(cx->row_context);
	ar = wait_with_table(cx, remote_id) ? NULL : relation_open_remote(cx, remote_id);
	if (!ar || ar->envelope)
	{
		error_context_stack = callback.previous;
		if (ar && strcmp(action, "INSERT") == 0)
			apply_envelope(ar);
		pass_over_row(cx, old);
		return;
	}
	if (!cx->significant)
		cx->significant = !table_is_frontier(ar->rel);
	if (ar->keyless_there && (ar->merge || (handler != put_insert && handler != remove_all_seen)))
		relation_key_differs(ar);
	if (!ar->placed)
		place_open(ar, cx->mode.careful);

	/* defaults, domains and partition keys are the owner's code as well */
	began = (ar->runs_code || ar->partitioned) && !cx->mode.kept && !cx->mode.unhurried
				? moment_now()
				: 0;
	saved = become_owner(ar);
	Assert(CurrentMemoryContext == cx->row_context && session_in_row());
	if (ar->merge)
		/*
		 * Flush before the row is read, because flushing resets the memory into which it is read.
		 */
		put_flush(cx);
	(ar->merge ? merge_handler : handler) (ar);
	become_worker(saved);
	MemoryContextSwitchTo(old);
	if (began != 0)
		check_pace(ar, began);

	/* Gathered inserts point into the row context, which is reset when they are written. */
	if (!put_is_gathering(cx))
		MemoryContextReset(cx->row_context);
	cx->rows++;
	pulse_step();
	error_context_stack = callback.previous;
}

/* Records where the message just read begins (at its type byte) and how long it is. */
static void
note_message(ApplyContext *cx, const WireReader *r, int begin)
{
	cx->message = r->data + begin - 1;
	cx->message_len = r->pos - begin + 1;
}

void
apply_insert(ApplyContext *cx, WireReader *r)
{
	int			begin = r->pos;
	uint32		id = wire_read_insert(r, &cx->newtup);

	note_message(cx, r, begin);
	apply_row(cx, "INSERT", id, false, put_insert, combine_plain_put);
}

void
apply_update(ApplyContext *cx, WireReader *r)
{
	int			begin = r->pos;
	bool		has_old;
	uint32		id = wire_read_update(r, &has_old, &cx->oldtup, &cx->newtup);

	note_message(cx, r, begin);
	apply_row(cx, "UPDATE", id, has_old, put_update, combine_plain_put);
}

void
apply_delete(ApplyContext *cx, WireReader *r)
{
	int			begin = r->pos;
	uint32		id = wire_read_delete(r, &cx->oldtup);

	note_message(cx, r, begin);
	apply_row(cx, "DELETE", id, true, remove_row, combine_plain_delete);
}

void
apply_write(ApplyContext *cx, WireReader *r)
{
	int			begin = r->pos;
	MemoryContext old = MemoryContextSwitchTo(cx->row_context);

	put_flush(cx);				/* flushing resets the memory into which the write is read next */
	wire_read_write(r, &cx->write, &cx->newtup);
	note_message(cx, r, begin);
	MemoryContextSwitchTo(old);
	apply_row(cx, "WRITE", cx->write.relid, false, put_write, combine_write);
}

void
apply_truncate(ApplyContext *cx, WireReader *r)
{
	int			begin = r->pos;
	int			n;
	uint32	   *ids;

	wire_read_truncate(r, &n, &ids);
	note_message(cx, r, begin);
	for (int i = 0; i < n; i++)
		apply_row(cx, "TRUNCATE", ids[i], false, remove_all_seen, remove_all_seen);
}

void
apply_change(ApplyContext *cx, WireReader *r, WireMessage type)
{
	switch (type)
	{
		case WIRE_INSERT:
			apply_insert(cx, r);
			break;
		case WIRE_UPDATE:
			apply_update(cx, r);
			break;
		case WIRE_DELETE:
			apply_delete(cx, r);
			break;
		case WIRE_TRUNCATE:
			apply_truncate(cx, r);
			break;
		case WIRE_WRITE:
			apply_write(cx, r);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a message that should be of a row is none")));
	}
}

void
apply_kept(ApplyContext *cx, WireReader relation, WireReader change)
{
	WireMessage type;

	put_flush(cx);
	relation_use(cx, RELATIONS_KEPT);
	relation_store_kept(cx, &relation, cx->relid);
	type = wire_read_type(&change);
	apply_change(cx, &change, type);
}

void
apply_message_begin(ApplyContext *cx)
{
	cx->action = NULL;
	relation_use(cx, RELATIONS_SENT);
	take_peer(cx, &cx->link);
}
