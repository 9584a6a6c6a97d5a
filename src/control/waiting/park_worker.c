/*
 * park_worker.c
 *		The process that has parked rows come back: after commits, of this node or of others, and
 *		now and then.
 *
 * It runs only while there are parked rows or pins, or tables that wait (kept.c); the manager
 * starts it. What runs here are expressions and triggers of the owners of tables, as them; so it is
 * a process of its own, and has a limit of time for each row (base/pulse.h): frontier rows, slots
 * and tombstones do not wait for it, and a row whose code takes too long says so in the view
 * parked_rows.
 *
 * Each table has its own pace: it takes a small part of the time only, so that with many parked
 * rows one may come back later than at once.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "apply/unpark.h"
#include "base/cut_text.h"
#include "base/moment.h"
#include "base/pulse.h"
#include "base/settings.h"
#include "control/waiting/kept.h"
#include "control/workers/manager_sql.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "shared/activity.h"
#include "shared/manager_status.h"
#include "shared/origin_map.h"

/* also when nothing has happened: somebody may have been in the way */
#define LOOK_AGAIN_MS	5000
/* pins are collected that often, or less often if that takes long */
#define COLLECT_MS		60000
#define MOST_PASSES		100		/* over a table in one look: there are others as well */
/* rows of a table that fail, each perhaps after waiting for a lock, in one look */
#define MOST_SKIPPED	5
/* looking at a table takes at most one part in so many of the time */
#define REST			10

/* One thing that is done with a table, and when that was last. */
typedef struct Visit
{
	uint64		after;			/* activity_count() before it */
	Moment		at;
	int			ms;				/* how long it took */
} Visit;

/* A table that has parked rows, or pins. */
typedef struct ParkTable
{
	Oid			relid;
	Visit		look;
	Visit		collect;
} ParkTable;

static List *tables = NIL;		/* of ParkTable *, in TopMemoryContext */

/* The entry of a table, made at first sight. */
static ParkTable *
entry_of(Oid relid)
{
	ListCell   *lc;
	MemoryContext old;
	ParkTable  *t;

	foreach(lc, tables)
	{
		t = lfirst(lc);
		if (t->relid == relid)
			return t;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	t = palloc0(sizeof(ParkTable));
	t->relid = relid;
	tables = lappend(tables, t);
	MemoryContextSwitchTo(old);
	return t;
}

/*
 * Tables that one of ours has rows of, in a list with spaces between; entries of tables that are
 * gone go. NULL: none.
 */
static char *
tables_in(const char *table)
{
	sql_value(psprintf("DELETE FROM replication_plugin.%s p WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = p.relid)", table), 0, NULL);
	return sql_value(psprintf("SELECT pg_catalog.string_agg(DISTINCT relid::pg_catalog.text, ' ') FROM replication_plugin.%s", table), 0, NULL);
}

/* Notes that something was done with a table. */
static void
visited(Visit *v, Moment start, uint64 after)
{
	v->at = moment_now();
	v->ms = (int) ((v->at - start) / 1000);
	v->after = after;
}

/* Has rows of a table come back until nothing changes, if it is time. */
static void
look(ApplyContext *cx, ParkTable *t)
{
	uint64		count = activity_count();
	Moment		start = moment_now();
	int			skipped = 0;
	int			passes = 0;
	UnparkResult result;

	if (!moment_is_past(t->look.at, t->look.ms * REST) ||
		(count == t->look.after && !moment_is_past(t->look.at, LOOK_AGAIN_MS)))
		return;
	do
	{
		result = unpark_table(cx, t->relid);
		skipped += result == UNPARK_SKIPPED;
	} while (++passes < MOST_PASSES && (result == UNPARK_MORE || (result == UNPARK_SKIPPED && skipped < MOST_SKIPPED)));
	visited(&t->look, start, count);
}

/* Forgets pins of a table that mean nothing any more, if it is time. */
static void
collect(ApplyContext *cx, ParkTable *t)
{
	Moment		start = moment_now();

	if (!moment_is_past(t->collect.at, Max(COLLECT_MS, t->collect.ms * REST)))
		return;
	unpark_collect_pins(cx, t->relid);
	visited(&t->collect, start, 0);
}

/* Visits all tables that one of ours has rows of. Returns whether there are any. */
static bool
visit(ApplyContext *cx, const char *table, void (*what) (ApplyContext *, ParkTable *))
{
	char	   *list = tables_in(table);
	char	   *save = NULL;

	for (char *name = list ? strtok_r(list, " ", &save) : NULL; name; name = strtok_r(NULL, " ", &save))
		what(cx, entry_of((Oid) strtoul(name, NULL, 10)));
	return list != NULL;
}

/* Shows the error at hand in the view nodes; the manager starts this worker again after a pause. */
static void
note_error(void)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	sql_note_error(psprintf("park worker: %s%s%s", cut_text(edata->message, 1000), edata->hint ? " HINT: " : "", edata->hint ? edata->hint : ""));
	ReThrowError(edata);
}

/* Works until there is nothing left to do. */
static void
work(void)
{
	ApplyContext *cx = apply_create();
	MemoryContext round = AllocSetContextCreate(TopMemoryContext, "park round", ALLOCSET_DEFAULT_SIZES);
	bool		healthy = false;
	bool		some;

	do
	{
		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		some = visit(cx, "parked_row", look);
		some |= visit(cx, "row_pin", collect);
		some |= kept_round(cx);
		if (!healthy)
			sql_value("UPDATE replication_plugin.local_node SET last_error = NULL WHERE last_error LIKE 'park worker: %'", 0, NULL);
		healthy = true;
		pulse_rest();
		if (some)
			worker_wait(Min(setting_frontier_interval / 4 + 1, 1000));
	} while (some);
}

void
replication_plugin_park_main(Datum dboid)
{
	worker_setup(DatumGetObjectId(dboid));
	if (!manager_status_attach_worker(MyDatabaseId, MANAGED_PARK))
		proc_exit(0);
	origin_map_ensure_loaded();
	pulse_init(NULL, NULL);
	(void) activity_count();
	PG_TRY();
	{
		work();
	}
	PG_CATCH();
	{
		note_error();
	}
	PG_END_TRY();
	proc_exit(0);
}
