/*
 * wait_for_apply.c
 *		wait_for_apply(): waits until all other members have durably applied what was committed
 *		here before the call.
 *
 * A member with a link from this node confirms to its slot here, and its walsender wakes the
 * session (output/confirm_watch.c). Any other member is asked, by a connection to it. Each look at
 * a table takes a snapshot of its own, so that a removal is seen. The snapshot of the statement
 * that calls the function stays.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/moment.h"
#include "base/session.h"
#include "catalog/names.h"
#include "model/version.h"
#include "shared/wakeup.h"
#include "sqlapi/argument.h"

PG_FUNCTION_INFO_V1(replication_plugin_wait_for_apply);
PG_FUNCTION_INFO_V1(replication_plugin_flush_point);

/* The other ready members, those with a link from this node first. */
static const char members_sql[] =
	"SELECT m.node_id, m.dsn, p.provider IS NOT NULL FROM replication_plugin.node m"
	" LEFT JOIN replication_plugin.planned_links('{}') p"
	" ON p.provider = replication_plugin.my_id() AND p.subscriber = m.node_id"
	" WHERE m.state = 'ready' AND m.node_id <> replication_plugin.my_id() ORDER BY 3 DESC, 1";
static const char removal_sql[] = "SELECT FROM replication_plugin.removal r WHERE r.node_id = $1";
static const char mark_sql[] = "SELECT replication_plugin.commit_mark()";
static const char member_has_sql[] = "SELECT replication_plugin.member_has($1, $2, $3, $4)";

/*
 * Number of concurrent calls by one role that may have connections to other nodes. Each has a
 * place, which is a heavyweight lock.
 */
#define WAIT_PLACES		8

#define ASK_MS			2000	/* a member is asked for so long: it may be removed meanwhile */
#define ASK_PAUSE_MS	20		/* from one question to the next, at least */
#define ASK_AGAIN_MS	1000	/* from the beginning of a question to the next one */

/* A member that is waited for. */
typedef struct Member
{
	NodeId		node;
	char	   *dsn;
	bool		linked;			/* there is a link from this node to it */
} Member;

/* A call of wait_for_apply(). */
typedef struct Wait
{
	Moment		deadline;
	XLogRecPtr	target;			/* position that members with a link have to confirm */
	XLogRecPtr	mark;			/* position that others are asked for; invalid: not committed yet */
	int			place;			/* 0: none */
	SPIPlanPtr	removal;
	NodeId		looked_for;		/* the member whose removal was last looked for, and when */
	Moment		looked_at;
	uint64		looked_events;
} Wait;

/* Returns a flushed position after everything that has committed before. */
static XLogRecPtr
flush_point(void)
{
	XLogRecPtr	end = log_message(PLUGIN_NAME, "", 0, false);

	XLogFlush(end);
	return end;
}

/* flush_point() → pg_lsn */
Datum
replication_plugin_flush_point(PG_FUNCTION_ARGS)
{
	PG_RETURN_LSN(flush_point());
}

/* ---------- places ---------- */

/* Returns the lock of a place of this session's role. */
static LOCKTAG
place_tag(int place)
{
	LOCKTAG		tag;

	Assert(place >= 1 && place <= WAIT_PLACES);
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, AuthIdRelationId, GetSessionUserId(), place);
	return tag;
}

/* Takes a place, unless the call has one. Returns true if it has one. */
static bool
wait_for_apply_take_place(Wait *w)
{
	for (int i = 1; i <= WAIT_PLACES && w->place == 0; i++)
	{
		LOCKTAG		tag = place_tag(i);

		if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			w->place = i;
	}
	return w->place != 0;
}

/* Gives the place back, if the call has one. After an error, the end of the transaction does. */
static void
give_place_back(Wait *w)
{
	LOCKTAG		tag;

	if (w->place == 0)
		return;
	tag = place_tag(w->place);
	LockRelease(&tag, ExclusiveLock, false);
	w->place = 0;
	wakeup_send(WAKEUP_PLACE);
}

/* ---------- members ---------- */

/* Returns the other ready members, which SPI_finish() frees. */
static Member *
wait_for_apply_read_members(int *n)
{
	Member	   *members;

	if (SPI_execute(members_sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the members");
	*n = SPI_processed;
	members = palloc(Max(*n, 1) * sizeof(Member));
	for (int i = 0; i < *n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		members[i].node = atoi(SPI_getvalue(row, desc, 1));
		members[i].dsn = SPI_getvalue(row, desc, 2);
		members[i].linked = SPI_getvalue(row, desc, 3)[0] == 't';
	}
	return members;
}

/*
 * Returns true if a member has been removed from the group. The table is read again only if one of
 * the group's tables has changed since, or some time has passed.
 */
static bool
is_removed(Wait *w, const Member *m)
{
	uint64		events = wakeup_group_events();
	Datum		arg = Int32GetDatum(m->node);

	if (w->looked_for == m->node && w->looked_events == events && !moment_is_past(w->looked_at, WAKEUP_LONGEST_MS))
		return false;
	w->looked_for = m->node;
	w->looked_events = events;
	w->looked_at = moment_now();
	if (SPI_execute_plan(w->removal, &arg, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the removed members");
	SPI_freetuptable(SPI_tuptable);
	return SPI_processed > 0;
}

/* ---------- a member with a link ---------- */

/* Returns true if a slot exists and is confirmed up to a position. */
static bool
slot_is_confirmed(const char *name, XLogRecPtr target)
{
	XLogRecPtr	confirmed = InvalidXLogRecPtr;
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot)
	{
		SpinLockAcquire(&slot->mutex);
		confirmed = slot->data.confirmed_flush;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return confirmed >= target;
}

/* Waits for a member with a link from this node. Returns false after the deadline. */
static bool
wait_for_link(Wait *w, const Member *m)
{
	char	   *slot = slot_name(MyDatabaseId, m->node);

	while (!slot_is_confirmed(slot, w->target) && !is_removed(w, m))
	{
		long		left = moment_ms_until(w->deadline);

		if (left == 0)
			return false;
		wakeup_sleep(WAKEUP_CONFIRMED, left);
	}
	return true;
}

/* ---------- any other member ---------- */

/* Asks a member whether it has the mark, which is committed if it is not yet. */
static bool
wait_for_apply_ask(Wait *w, const Member *m)
{
	Oid			types[4] = {INT4OID, TEXTOID, LSNOID, INTERVALOID};
	Interval	patience = {.time = Min(moment_ms_until(w->deadline), ASK_MS) * INT64CONST(1000)};
	Datum		args[4];
	bool		isnull;
	bool		has;

	if (w->mark == InvalidXLogRecPtr)
	{
		if (SPI_execute(mark_sql, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "could not commit a mark");
		w->mark = DatumGetLSN(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		/* every member would have a mark at position zero */
		if (isnull || w->mark == InvalidXLogRecPtr)
			elog(ERROR, "could not commit a mark");
		SPI_freetuptable(SPI_tuptable);
	}
	args[0] = Int32GetDatum(m->node);
	args[1] = CStringGetTextDatum(m->dsn);
	args[2] = LSNGetDatum(w->mark);
	args[3] = IntervalPGetDatum(&patience);
	if (SPI_execute_with_args(member_has_sql, 4, types, args, NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not ask node %d", m->node);
	has = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) && !isnull;
	SPI_freetuptable(SPI_tuptable);
	return has;
}

/* Waits for a member without a link from this node. Returns false after the deadline. */
static bool
wait_by_asking(Wait *w, const Member *m)
{
	for (;;)
	{
		Moment		again = moment_after(ASK_AGAIN_MS);
		bool		asked = wait_for_apply_take_place(w);
		long		left;

		if ((asked && wait_for_apply_ask(w, m)) || is_removed(w, m))
			return true;
		left = moment_ms_until(w->deadline);
		if (left == 0)
			return false;
		/* one that cannot be reached answers at once */
		if (asked)
			wakeup_pause(Min(left, Max(moment_ms_until(again), ASK_PAUSE_MS)));
		else
			wakeup_sleep(WAKEUP_PLACE, left);
	}
}

/* Waits for all members. Returns false after the deadline. */
static bool
wait_for_all(Wait *w)
{
	Oid			types[1] = {INT4OID};
	Member	   *members;
	int			n;
	bool		all = true;

	w->removal = SPI_prepare(removal_sql, 1, types);
	if (!w->removal)
		elog(ERROR, "could not prepare \"%s\"", removal_sql);
	members = wait_for_apply_read_members(&n);
	for (int i = 0; i < n && all; i++)
		all = members[i].linked ? wait_for_link(w, &members[i]) : wait_by_asking(w, &members[i]);
	wakeup_done();
	give_place_back(w);
	return all;
}

/* wait_for_apply(timeout interval) → boolean */
Datum
replication_plugin_wait_for_apply(PG_FUNCTION_ARGS)
{
	Wait		w = {.deadline = argument_deadline(PG_GETARG_INTERVAL_P(0))};
	int			nest;
	bool		all;

	w.target = flush_point();
	nest = session_sql_begin();
	all = wait_for_all(&w);
	session_sql_end(nest);
	PG_RETURN_BOOL(all);
}
