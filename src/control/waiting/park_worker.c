/*
 * park_worker.c
 *		The park worker: lets parked rows come back, after commits of this node or of others and
 *		at intervals, and applies kept changes.
 *
 * It runs only while there are parked rows or pins, or waiting tables (kept.c); the manager starts
 * it. It runs expressions and triggers of the owners of tables, as these owners. Therefore it is a
 * process of its own, and each row has a time limit (base/pulse.h): frontier rows, slots and
 * tombstones do not wait for it, and the view parked_rows shows a row whose code takes too long.
 *
 * Each table takes only a small part of the time. So with many parked rows, a row may come back
 * later than it could.
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
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

/* also without commits, as another session may have been in the way */
#define LOOK_AGAIN_MS	5000
/* least interval between two collections of pins */
#define COLLECT_MS		60000
#define MOST_PASSES		100		/* over a table in one visit: other tables wait as well */
/* failing rows of a table in one visit, each of which may have waited for a lock */
#define MOST_SKIPPED	5
/* visits of a table take at most 1/REST of the time */
#define REST			10

static const char forget_dropped_sql[] =
	"DELETE FROM replication_plugin.%s p WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c"
	" WHERE c.oid = p.relid)";
static const char tables_in_sql[] =
	"SELECT pg_catalog.string_agg(DISTINCT relid::pg_catalog.text, ' ') FROM replication_plugin.%s";

/* A task that is done with a table, and when it was last done. */
typedef struct Visit
{
	uint64		after;			/* activity_count() before the visit */
	Moment		at;
	int			ms;				/* duration */
} Visit;

/* A table that has parked rows or pins. */
typedef struct ParkTable
{
	Oid			relid;
	Visit		look;
	Visit		collect;
} ParkTable;

typedef struct ParkWorker
{
	ApplyContext *cx;
	List	   *tables;			/* of ParkTable *, in TopMemoryContext */
	KeptWork	kept;
} ParkWorker;

/* Returns the entry of a table, which is made at first sight. */
static ParkTable *
park_worker_entry_of(ParkWorker *worker, Oid relid)
{
	ListCell   *lc;
	MemoryContext old;
	ParkTable  *t;

	foreach(lc, worker->tables)
	{
		t = lfirst(lc);
		if (t->relid == relid)
			return t;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	t = palloc0(sizeof(ParkTable));
	t->relid = relid;
	worker->tables = lappend(worker->tables, t);
	MemoryContextSwitchTo(old);
	return t;
}

/*
 * Returns the tables that have entries in one of the extension's tables, as OIDs separated by
 * spaces, or NULL if there are none. Deletes entries of tables that do not exist any more.
 */
static char *
tables_in(const char *table)
{
	sql_value(psprintf(forget_dropped_sql, table), 0, NULL);
	return sql_value(psprintf(tables_in_sql, table), 0, NULL);
}

/* Notes the end of a visit. */
static void
park_worker_visited(Visit *v, Moment start, uint64 after)
{
	v->at = moment_now();
	v->ms = (int) ((v->at - start) / 1000);
	v->after = after;
}

/* Lets rows of a table come back until nothing changes, if it is time. */
static void
park_worker_look(ApplyContext *cx, ParkTable *t)
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
	} while (++passes < MOST_PASSES &&
			 (result == UNPARK_MORE || (result == UNPARK_SKIPPED && skipped < MOST_SKIPPED)));
	park_worker_visited(&t->look, start, count);
}

/* Forgets obsolete pins of a table, if it is time. */
static void
park_worker_collect(ApplyContext *cx, ParkTable *t)
{
	Moment		start = moment_now();

	if (!moment_is_past(t->collect.at, Max(COLLECT_MS, t->collect.ms * REST)))
		return;
	unpark_collect_pins(cx, t->relid);
	park_worker_visited(&t->collect, start, 0);
}

/*
 * Visits all tables that have entries in one of the extension's tables. Returns true if there are
 * any.
 */
static bool
park_worker_visit(ParkWorker *worker, const char *table, void (*what) (ApplyContext *, ParkTable *))
{
	char	   *list = tables_in(table);
	char	   *save = NULL;

	for (char *name = list ? strtok_r(list, " ", &save) : NULL; name;
		 name = strtok_r(NULL, " ", &save))
		what(worker->cx, park_worker_entry_of(worker, (Oid) strtoul(name, NULL, 10)));
	return list != NULL;
}

/*
 * Shows the current error in the view nodes and raises it again. The manager restarts this worker
 * after a pause.
 */
static void
park_worker_note_error(void)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	origin_abort_transaction();
	sql_note_error(psprintf("park worker: %s%s%s", cut_text(edata->message, 1000),
							edata->hint ? " HINT: " : "", edata->hint ? edata->hint : ""));
	ReThrowError(edata);
}

/* Works until nothing is left to do. */
static void
park_worker_work(void)
{
	ParkWorker	worker = {.cx = apply_create()};
	MemoryContext round =
		AllocSetContextCreate(TopMemoryContext, "park round", ALLOCSET_DEFAULT_SIZES);
	bool		healthy = false;
	bool		some;

	do
	{
		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		some = park_worker_visit(&worker, "parked_row", park_worker_look);
		some |= park_worker_visit(&worker, "row_pin", park_worker_collect);
		some |= kept_round(&worker.kept, worker.cx);
		if (!healthy)
			sql_clear_error("park worker: %");
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
	origin_hold_release_at_exit();
	pulse_init(NULL, NULL);
	(void) activity_count();
	PG_TRY();
	{
		park_worker_work();
	}
	PG_CATCH();
	{
		park_worker_note_error();
	}
	PG_END_TRY();
	proc_exit(0);
}
