/*
 * slot_tender.c
 *		Drops the slots of this node that are no longer used.
 *
 * A slot is made when a subscriber asks for it (handshake()), as a copy of the group slot. So it
 * can be dropped at any time, and nothing is lost. This file drops the slots of removed nodes and
 * the spare slots that have been unused for a while. It also removes members for which more WAL is
 * kept than is allowed.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/settings.h"
#include "control/links/slot_tender.h"
#include "control/workers/sql.h"
#include "model/version.h"
#include "shared/activity.h"

/* time for which an unused spare slot is kept */
#define SPARE_MS		30000
#define LOOK_MS			5000
/* ... and this many frontier_intervals, in which members can tell how far they are */
#define LOOK_INTERVALS	5

static const char spare_slots_sql[] =
	"SELECT string_agg(subscriber::text, ' ') FROM replication_plugin.spare_slots()"
	" WHERE NOT active";
static const char drop_spare_slot_sql[] = "SELECT replication_plugin.drop_spare_slot($1::integer)";
static const char remove_stragglers_sql[] =
	"SELECT string_agg(s, ', ') FROM replication_plugin.remove_stragglers($1::integer,"
	" $2::pg_lsn) s";
static const char remove_orphans_sql[] =
	"SELECT string_agg(o, ', ') FROM replication_plugin.remove_orphans() o";
static const char drop_slots_of_removed_sql[] = "SELECT replication_plugin.drop_slots_of_removed()";
static const char drop_overtaken_slots_sql[] = "SELECT replication_plugin.drop_overtaken_slots()";

typedef struct SpareSlot
{
	NodeId		subscriber;
	Moment		unused_since;
} SpareSlot;

/*
 * Returns the entry of an unused spare slot, which says since when it is unused. Makes a new entry
 * if there is none.
 */
static SpareSlot *
note_unused(List *known, NodeId subscriber)
{
	SpareSlot  *s;
	ListCell   *lc;

	foreach(lc, known)
	{
		s = lfirst(lc);
		if (s->subscriber == subscriber)
			return s;
	}
	s = palloc(sizeof(SpareSlot));
	*s = (SpareSlot) {subscriber, moment_now()};
	return s;
}

/* Drops spare slots that have been unused for SPARE_MS. */
static void
drop_spare_slots(SlotTender *tender)
{
	char	   *list = sql_value(spare_slots_sql, 0, NULL);
	List	   *now = NIL;
	char	   *save = NULL;

	for (char *item = list ? strtok_r(list, " ", &save) : NULL; item;
		 item = strtok_r(NULL, " ", &save))
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		SpareSlot  *s = note_unused(tender->spare, atoi(item));

		now = lappend(now, s);
		MemoryContextSwitchTo(old);
		if (moment_is_past(s->unused_since, SPARE_MS))
			sql_value_int(drop_spare_slot_sql, s->subscriber);
	}
	list_free_deep(list_difference_ptr(tender->spare, now));
	list_free(tender->spare);
	tender->spare = now;
}

/* Removes members for which too much WAL was kept in the last round already. */
static void
remove_stragglers(SlotTender *tender)
{
	const char *params[2] = {psprintf("%d", setting_max_retained_wal),
							 psprintf("%X/%X", LSN_FORMAT_ARGS(tender->looked_end))};
	char	   *names;

	if (setting_max_retained_wal < 0)
		return;
	names = sql_value(remove_stragglers_sql, 2, params);
	if (!names)
		return;
	activity_note();
	ereport(WARNING,
			(errmsg("more WAL than replication_plugin.max_retained_wal is kept for: %s", names),
			 errdetail("The group goes on without; SELECT replication_plugin.rejoin() on the node takes it in again.")));
}

/* Removes nodes that were joining through a node that is removed. */
static void
remove_orphans(void)
{
	char	   *names = sql_value(remove_orphans_sql, 0, NULL);

	if (!names)
		return;
	activity_note();
	ereport(LOG,
			(errmsg("removed from the group, as the node through which it was joining is removed: %s", names),
			 errhint("Call leave_group() on it, and join again.")));
}

void
slot_tender_round(SlotTender *tender)
{
	sql_value(drop_slots_of_removed_sql, 0, NULL);
	if (!moment_is_past(tender->looked_at,
						Max(LOOK_MS, LOOK_INTERVALS * setting_frontier_interval)))
		return;
	tender->looked_at = moment_now();
	drop_spare_slots(tender);
	sql_value(drop_overtaken_slots_sql, 0, NULL);
	remove_orphans();
	remove_stragglers(tender);
	tender->looked_end = GetXLogInsertRecPtr();
}
