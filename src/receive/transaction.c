/*
 * transaction.c
 *		Handles the messages of the stream: transactions are skipped, held back, applied and
 *		retried.
 *
 * The provider sends whole messages for each transaction: the begin with the first rows, more rows,
 * and the last rows with the commit. A stub is a message of its own. The messages since the one
 * with the begin are therefore the transaction, and replaying them applies it again.
 *
 * A transaction is applied if the frontier does not cover it, under the hold of its origin. The
 * hold is kept until the commit has moved the frontier. Deadlocks, lock timeouts and serialization
 * failures do not count as failures of the link: the transaction is applied again. A unique
 * violation is retried in careful mode, which looks before it inserts; only there it counts as an
 * error.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply/apply.h"
#include "apply/scout.h"
#include "base/moment.h"
#include "base/pulse.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "queue/replay.h"
#include "receive/feedback.h"
#include "receive/gate.h"
#include "receive/link_error.h"
#include "receive/lost_table.h"
#include "receive/reply.h"
#include "receive/table_wait.h"
#include "shared/link_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_mark.h"
#include "shared/wall_clock.h"

#define STUB_WAIT_MS	200		/* between two checks of a stub without a wake-up */
#define CAREFUL_TRIES	3		/* unique violations in careful mode that may be races */
/* time of retrying one transaction, or of waiting for a row, after which it is reported */
#define TELL_AFTER_MS	3000

bool
link_in_transaction(const Link *link)
{
	return link->transaction.course != COURSE_NONE;
}

void
link_transaction_reset(Link *link)
{
	LinkTransaction *t = &link->transaction;

	t->course = COURSE_NONE;
	replay_start(&t->messages);
}

/* ---------- messages ---------- */

/* Raises an error if a transaction is under way. */
static void
refuse_inside(const Link *link, const char *what)
{
	if (link->transaction.course != COURSE_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the stream has %s inside a transaction", what)));
}

/*
 * Takes the hold on the origin of the current transaction. If that takes long, link_beat() shows in
 * the link's status which transaction the link waits for.
 */
static void
take_hold(Link *link)
{
	LinkTransaction *t = &link->transaction;

	link->awaits_hold = t->begin.origin;
	link->awaits_lsn = t->begin.origin_lsn;
	link->shows_hold = false;
	gate_hold(&link->gate, t->begin.origin);
	link->awaits_hold = INVALID_NODE_ID;
	if (link->shows_hold)
		link_status_set_state(link->index, LINK_CATCHING_UP);
}

/*
 * Raises an error if the transaction's timestamp is too far ahead of the wall clock: this node's
 * hybrid logical clock would continue from it, and so would those of all other nodes. At this point
 * nothing of the transaction has been written and the clock has not been raised. The transaction
 * comes again with the next try.
 */
static void
refuse_future(Link *link)
{
	LinkTransaction *t = &link->transaction;
	int64		excess = wall_clock_excess(t->begin.commit_ts);

	if (excess == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a transaction of node %s has a timestamp that is %s ahead of this server's clock",
					t->begin.origin == link->provider ? psprintf("\"%s\"", link->provider_name) : psprintf("%d", t->begin.origin),
					wall_clock_span(excess)),
			 errdetail("replication_plugin.max_clock_skew is %d s. Neither it nor what comes after it is applied.", setting_max_clock_skew),
			 errhint("Compare the clocks (clock_offset in the view nodes). If this server's is behind, set it right."
					 " If that node's was ahead when it committed this: set it right, and either raise replication_plugin.max_clock_skew on all nodes,"
					 " or take it in anew without what it wrote then: remove_node(..., lost => true) here, and rejoin() there.")));
}

/* Reads the begin of a transaction and decides what is done with it. */
static void
begin_transaction(Link *link, WireReader *r)
{
	LinkTransaction *t = &link->transaction;

	refuse_inside(link, "a begin");
	wire_read_begin(r, &t->begin);
	Assert(!IsTransactionState());
	take_hold(link);
	if (gate_covers(&link->gate, t->begin.origin, t->begin.origin_lsn))
		t->course = COURSE_COVERED;
	else if (link_skips(link, t->begin.origin_lsn))
		t->course = COURSE_SKIP;
	else if (link->scouting && link->failing_lsn == t->begin.origin_lsn)
	{
		t->course = COURSE_SCOUT;
		scout_begin(link->apply);
	}
	else
	{
		t->course = COURSE_APPLY;
		refuse_future(link);
		apply_begin(link->apply, &t->begin, (ApplyMode) {
			.careful = t->careful_lsn == t->begin.origin_lsn,
			.unhurried = link->joining || t->unhurried_lsn == t->begin.origin_lsn,
			.source_decides = link->joining && t->begin.origin != link->provider,
			.unversioned = link->joining && !link->adopted
		});
	}
}

/* Skips a transaction by order of skip_transaction(), and reports that. */
static void
skip_transaction(Link *link)
{
	LinkTransaction *t = &link->transaction;

	apply_nothing(link->apply, &t->begin);
	link_skip_done(link, t->begin.origin_lsn);
	ereport(WARNING,
			(errmsg("transaction %X/%X of node %d was skipped by skip_transaction()",
					LSN_FORMAT_ARGS(t->begin.origin_lsn), t->begin.origin),
			 errdetail("Its rows may now differ between this node and the others.")));
}

/* Merges the seen vector that an earlier stream stored, once its position is passed. */
static void
merge_stored(Link *link, XLogRecPtr position)
{
	if (link->seen_stored && position >= link->seen_lsn)
	{
		frontier_merge(link->seen, link->seen_stored);
		link->seen_stored = NULL;
	}
}

/* Notes that a position of the stream is passed. */
static void
transaction_passed(Link *link, XLogRecPtr position)
{
	merge_stored(link, position);
	feedback_passed(&link->feedback, position);
}

/* Ends the reading of a transaction for its tables. The transaction can be tried again now. */
static void
end_scouting(Link *link)
{
	LinkTransaction *t = &link->transaction;

	t->course = COURSE_NONE;
	gate_release(&link->gate);
	tables_wait(link, &t->begin, scout_tables(link->apply));
}

/* Ends a transaction. */
static void
commit_transaction(Link *link, WireReader *r)
{
	LinkTransaction *t = &link->transaction;
	WireCommit	commit;
	uint64		rows = 0;

	wire_read_commit(r, &commit);
	switch (t->course)
	{
		case COURSE_APPLY:
			rows = apply_commit(link->apply);
			break;
		case COURSE_SKIP:
			skip_transaction(link);
			break;
		case COURSE_COVERED:
		case COURSE_SCOUT:
			break;
		case COURSE_NONE:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("the stream has a commit without a begin")));
	}
	if (t->course != COURSE_COVERED)
	{
		/* frontier rows of other nodes are not counted as work */
		bool		counts = t->course == COURSE_SKIP || !apply_was_heartbeat(link->apply);

		origin_hold_note(t->begin.origin, t->begin.origin_lsn, t->begin.commit_ts);
		link_status_add_applied(link->index, counts ? 1 : 0, counts ? rows : 0, t->begin.commit_ts);
		link_status_wake_blocked(MyDatabaseId, t->begin.origin, t->begin.origin_lsn);
	}
	t->course = COURSE_NONE;
	Assert(!IsTransactionState());
	t->retries = t->careful_tries = t->told_sqlstate = 0;
	t->retrying_since = 0;
	frontier_raise(link->seen, t->begin.origin, t->begin.origin_lsn, t->begin.commit_ts);
	transaction_passed(link, commit.end_lsn);
	gate_release_if_wanted(&link->gate);
}

/* Applies a row message, or reads past it. */
static void
row_message(Link *link, WireReader *r, WireMessage type)
{
	LinkTransaction *t = &link->transaction;
	WireWrite	write;
	bool		has_old;
	int			n;
	uint32	   *ids;

	if (t->course == COURSE_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the stream has a row outside a transaction")));
	if (t->course == COURSE_APPLY)
	{
		apply_change(link->apply, r, type);
		return;
	}
	if (t->course == COURSE_SCOUT)
	{
		scout_message(link->apply, r, type);
		return;
	}
	for (int i = 0; i < 2 && !t->unused[i].columns; i++)
		wire_tuple_init(&t->unused[i], TopMemoryContext);
	if (type == WIRE_INSERT)
		wire_read_insert(r, &t->unused[0]);
	else if (type == WIRE_UPDATE)
		wire_read_update(r, &has_old, &t->unused[0], &t->unused[1]);
	else if (type == WIRE_DELETE)
		wire_read_delete(r, &t->unused[0]);
	else if (type == WIRE_WRITE)
		wire_read_write(r, &write, &t->unused[0]);
	else
		wire_read_truncate(r, &n, &ids);
}

/* ---------- stubs ---------- */

/*
 * Asks the provider to send an origin in full, which needs a restart of the stream
 * (docs/protocol.md, Demand). Returns false if it has been asked for already.
 */
static bool
transaction_demand(Link *link, NodeId origin)
{
	MemoryContext old;

	if (list_member_int(link->demanded, origin))
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	link->demanded = lappend_int(link->demanded, origin);
	MemoryContextSwitchTo(old);
	ereport(LOG,
			(errmsg("link from node \"%s\" takes the transactions of node %d as well, which do not come another way",
					link->provider_name, origin)));
	return true;
}

/*
 * Returns true if an origin's transactions have been waited for too long, or can no longer come by
 * their own link. While another worker has the hold of the origin, the awaited transaction may be a
 * large one that is being applied, and asking for it on this link as well would not help.
 */
static bool
is_overdue(Moment since, NodeId origin)
{
	return (moment_is_past(since, setting_reroute_timeout) &&
			!origin_hold_is_held(origin)) || link_node_removed(origin);
}

void
link_forget_demands(Link *link)
{
	list_free(link->demanded);
	link->demanded = NIL;
}

/*
 * Waits until this node has applied everything that a stub names. Returns false if the stream must
 * be restarted, with a missing origin in full or by request of the manager.
 */
static bool
wait_for_stub(Link *link, const WireStub *stub)
{
	const FrontierEntry *missing;
	const FrontierEntry *announced = NULL;
	Moment		since = 0;

	while ((missing = gate_missing(&link->gate, stub)) != NULL)
	{
		if (since == 0)
		{
			since = moment_now();
			gate_release(&link->gate);
		}
		if (link_status_restart_requested(link->index))
			return false;
		if (missing != announced)
		{
			/* check again after setting the blocked position, so that no wake-up is lost */
			link_status_set_blocked(link->index, missing->node, missing->lsn);
			announced = missing;
			continue;
		}
		if (moment_is_past(since, STUB_WAIT_MS) && missing->node != link->me &&
			is_overdue(since, missing->node) && transaction_demand(link, missing->node))
			return false;
		link_wait(link, STUB_WAIT_MS);
	}
	if (since != 0)
		link_status_set_state(link->index, LINK_CATCHING_UP);
	return true;
}

void
link_wait_for_base(Link *link)
{
	WireStub	stub;
	const FrontierEntry *missing;

	if (!link->base)
		return;
	stub = (WireStub) {.n = link->base->n,.entries = link->base->entries};
	while ((missing = gate_missing(&link->gate, &stub)) != NULL)
	{
		link_status_set_state(link->index, LINK_CATCHING_UP);
		link_status_set_blocked(link->index, missing->node, missing->lsn);
		if (gate_missing(&link->gate, &stub))
			link_wait(link, STUB_WAIT_MS);
	}
	/*
	 * The base is not merged into the seen vector: the provider may have got it only after what the
	 * stream begins with.
	 */
	link_status_set_state(link->index, LINK_CONNECTING);
}

/*
 * Handles a stub: waits until the frontier covers it, then adds it to the seen vector. Returns
 * false if the stream must be restarted.
 */
static bool
stub_message(Link *link, WireReader *r)
{
	WireStub	stub;

	refuse_inside(link, "a stub");
	wire_read_stub(r, &stub);
	if (!wait_for_stub(link, &stub))
		return false;
	for (int i = 0; i < stub.n; i++)
		frontier_raise(link->seen, stub.entries[i].node, stub.entries[i].lsn, stub.entries[i].ts);
	link->seen_changed = true;
	link->held_back = stub.more;
	transaction_passed(link, stub.end_lsn);
	return true;
}

/* Reads the startup message and checks that it comes from the expected provider. */
static void
startup_message(Link *link, WireReader *r)
{
	WireStartup m;

	refuse_inside(link, "a startup message");
	wire_read_startup(r, &m);
	if (m.protocol != link->stream.protocol || m.node != link->provider ||
		strcmp(m.group_id, link->group_id) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("node \"%s\" answers as node %d of group %s with protocol %d",
						link->provider_name, m.node, m.group_id, m.protocol),
				 errhint("Check that the dsn of the node leads to the right server.")));
}

/*
 * Processes one message of the stream. Returns false if the stream must be restarted or, with
 * *replay set, if the transaction must be replayed.
 */
static bool
transaction_process(Link *link, const char *data, int len, bool *replay)
{
	LinkTransaction *t = &link->transaction;
	WireReader	r = {.data = data,.len = len};

	apply_message_begin(link->apply);
	while (!wire_at_end(&r))
	{
		WireMessage type = wire_read_type(&r);

		switch (type)
		{
			case WIRE_STARTUP:
				startup_message(link, &r);
				break;
			case WIRE_BEGIN:
				begin_transaction(link, &r);
				break;
			case WIRE_COMMIT:
				if (t->course == COURSE_SCOUT)
				{
					end_scouting(link);
					*replay = replay_complete(&t->messages);
					return false;
				}
				commit_transaction(link, &r);
				break;
			case WIRE_RELATION:
				apply_relation(link->apply, &r);
				break;
			case WIRE_STUB:
				if (!stub_message(link, &r))
					return false;
				break;
			case WIRE_INSERT:
			case WIRE_UPDATE:
			case WIRE_DELETE:
			case WIRE_TRUNCATE:
			case WIRE_WRITE:
				row_message(link, &r, type);
				break;
		}
	}
	return true;
}

/* ---------- errors ---------- */

/* What to do after an error. */
typedef enum Remedy
{
	REMEDY_NONE,				/* the link fails */
	REMEDY_AGAIN,
	REMEDY_NOW,					/* again at once, as the obstacle is gone */
	REMEDY_CAREFUL				/* again, in careful mode */
} Remedy;

/*
 * Chooses a remedy by SQLSTATE. many: any of several rows may have caused the error, so careful
 * mode must find the right one for the report.
 */
static Remedy
remedy_for(LinkTransaction *t, int sqlstate, bool many)
{
	switch (sqlstate)
	{
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			/*
			 * Careful mode finds the table that may have to wait. Code of users can raise any
			 * SQLSTATE.
			 */
			return many && t->careful_lsn != t->begin.origin_lsn ? REMEDY_CAREFUL : REMEDY_AGAIN;
		case ERRCODE_UNIQUE_VIOLATION:
		case ERRCODE_EXCLUSION_VIOLATION:
			if (t->careful_lsn != t->begin.origin_lsn)
				return REMEDY_CAREFUL;
			return ++t->careful_tries < CAREFUL_TRIES ? REMEDY_CAREFUL : REMEDY_NONE;
		default:
			return many && t->careful_lsn != t->begin.origin_lsn ? REMEDY_CAREFUL : REMEDY_NONE;
	}
}

/*
 * Reports a transaction that has been retried for some time: in the view links, and once for each
 * cause in the log.
 */
static void
tell_of_retry(Link *link, ErrorData *edata)
{
	LinkTransaction *t = &link->transaction;
	char	   *text;

	if (t->retrying_since == 0)
		t->retrying_since = moment_now();
	if (!moment_is_past(t->retrying_since, TELL_AFTER_MS))
		return;
	text = link_error_text(link, edata, &t->begin);
	link_status_tell(link->index, text);
	if (t->told_sqlstate != edata->sqlerrcode)
		ereport(LOG,
				(errmsg("link from node \"%s\" applies a transaction again and again: %s", link->provider_name, text)));
	t->told_sqlstate = edata->sqlerrcode;
}

/* Waits before a transaction is tried again, longer each time. */
static void
wait_before_retry(Link *link)
{
	LinkTransaction *t = &link->transaction;

	link_status_set_state(link->index, LINK_RETRYING);
	t->retries++;
	link_wait(link, Min(10L << Min(t->retries, 7), 1000));
	link_status_set_state(link->index, LINK_CATCHING_UP);
}

/*
 * Chooses what to do after an error, and takes the steps that come first: tables begin to wait or
 * are passed over. The transaction has been aborted.
 */
static Remedy
remedy_after(Link *link, ErrorData *edata, Remedy remedy)
{
	LinkTransaction *t = &link->transaction;

	Assert(!IsTransactionState());
	if (t->course != COURSE_APPLY)
		return remedy;
	if (remedy == REMEDY_NONE && edata->sqlerrcode == ERRCODE_UNDEFINED_TABLE &&
		lost_table_passed_over(link, &edata->detail, &edata->hint))
	{
		table_wait_note_passed_over(link, &t->begin);
		remedy = REMEDY_NOW;
	}
	if ((remedy == REMEDY_NONE || remedy == REMEDY_AGAIN) &&
		table_waits(link, edata, &t->begin, remedy == REMEDY_AGAIN))
		remedy = REMEDY_NOW;
	if (remedy == REMEDY_AGAIN && edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		link_limit_lock_waits(false);
	if (remedy != REMEDY_NOW && edata->sqlerrcode == ERRCODE_TABLE_TOO_SLOW)
	{
		t->unhurried_lsn = t->begin.origin_lsn;
		remedy = REMEDY_NOW;
	}
	return remedy;
}

/* Records the failure in the link's status and raises the error again, which ends the stream. */
static void
transaction_fail(Link *link, ErrorData *edata)
{
	LinkTransaction *t = &link->transaction;

	if (t->course == COURSE_APPLY)
	{
		char	   *text = link_error_text(link, edata, &t->begin);

		if (edata->sqlerrcode == ERRCODE_UNIQUE_VIOLATION)
			apply_record_stop(link->apply, psprintf("%s %s", edata->message, edata->detail ? edata->detail : ""));
		link_status_set_error(link->index, text, true);
		link_status_set_state(link->index, LINK_BACKOFF);
	}
	t->course = COURSE_NONE;
	ReThrowError(edata);
}

/*
 * Cleans up after an error in a message. Returns true if the transaction must be replayed, and
 * false if the stream must be restarted. Raises the error again if there is no remedy.
 */
static bool
handle_error(Link *link, MemoryContext context)
{
	LinkTransaction *t = &link->transaction;
	ErrorData  *edata;
	Remedy		remedy;
	bool		timed_out;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	timed_out = pulse_timed_out();
	if (timed_out)
		link_error_explain_limit(edata);
	remedy = t->course == COURSE_APPLY
				 ? remedy_for(t, edata->sqlerrcode, apply_failed_at_many(link->apply))
				 : REMEDY_NONE;
	FlushErrorState();
	origin_abort_transaction();
	apply_reset(link->apply);
	MemoryContextSwitchTo(context);
	remedy = remedy_after(link, edata, remedy);
	Assert(remedy == REMEDY_NONE || t->course != COURSE_NONE);
	if (remedy == REMEDY_NONE)
		transaction_fail(link, edata);
	if (remedy == REMEDY_CAREFUL)
		t->careful_lsn = t->begin.origin_lsn;
	if (remedy == REMEDY_CAREFUL && timed_out)
		link_status_tell(link->index, psprintf("%s: the rows are applied one by one, to find which HINT: %s", edata->message, edata->hint));
	ereport(DEBUG1, (errmsg("transaction %X/%X of node %d is applied again: %s",
							LSN_FORMAT_ARGS(t->begin.origin_lsn), t->begin.origin, edata->message)));
	if (remedy == REMEDY_AGAIN)
		tell_of_retry(link, edata);
	FreeErrorData(edata);
	gate_release(&link->gate);
	t->course = COURSE_NONE;
	if (remedy == REMEDY_AGAIN)
		wait_before_retry(link);
	return replay_complete(&t->messages);
}

/*
 * Processes one message in a memory context that outlives transactions, so that the copy of an
 * error survives the abort. Cleans up after an error that can be remedied. Sets *replay if the
 * transaction must be replayed. Returns false if the stream does not go on with the next message.
 */
static bool
try_message(Link *link, MemoryContext context, const char *data, int len, bool *replay)
{
	volatile bool go_on = true;

	*replay = false;
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		go_on = transaction_process(link, data, len, replay);
	}
	PG_CATCH();
	{
		*replay = handle_error(link, context);
		go_on = false;
	}
	PG_END_TRY();
	return go_on;
}

bool
link_message(Link *link, const char *data, int len)
{
	LinkTransaction *t = &link->transaction;
	MemoryContext context = CurrentMemoryContext;
	bool		replay;
	const char *message;

	if (t->course == COURSE_NONE)
		replay_start(&t->messages);
	replay_add(&t->messages, data, len);
	if (try_message(link, context, data, len, &replay))
		return true;
	while (replay)
	{
		int			i = 0;
		bool		go_on = true;

		while (go_on && (message = replay_message(&t->messages, i++, &len)) != NULL)
			go_on = try_message(link, context, message, len, &replay);
		if (go_on)
			return true;
	}
	return false;
}
