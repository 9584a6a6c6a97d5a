/*
 * park_tender.c
 *		When parked rows are looked at: after commits, of this node or of others, and now and then.
 *
 * Most databases have none, and then this is one look at an empty table. With many, it takes a small part of the time
 * only, so that a row may come back later than at once.
 */
#include "postgres.h"

#include "apply/unpark.h"
#include "base/moment.h"
#include "catalog/activity.h"
#include "control/park_tender.h"
#include "control/sql.h"

#define LOOK_AGAIN_MS	5000	/* also when nothing has happened: somebody may have been in the way */
#define COLLECT_MS		60000	/* pins are collected that often, or less often if that takes long */
#define MOST_PASSES		100		/* over a table in one look: this process has other things to do as well */
#define MOST_SKIPPED	5		/* rows of a table that fail, each perhaps after waiting for a lock, in one look */
#define REST			10		/* looking takes at most one part in so many of the time */

static uint64 looked_after = 0;	/* activity_count() before the last look */
static Moment looked_at = 0;
static int	look_ms = 0;		/* how long it took */
static Moment collected_at = 0;
static int	collect_ms = 0;

/* Oids of the tables that one of ours has rows of, in a list with spaces between; those of tables that are gone go. */
static char *
tables_in(const char *table)
{
	sql_value(psprintf("DELETE FROM replication_plugin.%s p WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p.relid)", table), 0, NULL);
	return sql_value(psprintf("SELECT string_agg(DISTINCT relid::text, ' ') FROM replication_plugin.%s", table), 0, NULL);
}

/* Has rows come back until nothing changes. Returns whether that was so for all. */
static bool
look(void)
{
	char	   *list = tables_in("parked_row");
	char	   *rest = NULL;
	bool		all = true;

	for (char *name = list ? strtok_r(list, " ", &rest) : NULL; name; name = strtok_r(NULL, " ", &rest))
	{
		UnparkResult result;
		int			skipped = 0;
		int			passes = 0;

		do
		{
			result = unpark_table((Oid) strtoul(name, NULL, 10));
			skipped += result == UNPARK_SKIPPED;
		} while (++passes < MOST_PASSES && (result == UNPARK_MORE || (result == UNPARK_SKIPPED && skipped < MOST_SKIPPED)));
		all &= result == UNPARK_DONE;
	}
	return all;
}

/* Forgets pins that mean nothing any more. */
static void
collect(void)
{
	Moment		start = moment_now();
	char	   *list = tables_in("row_pin");
	char	   *rest = NULL;

	for (char *name = list ? strtok_r(list, " ", &rest) : NULL; name; name = strtok_r(NULL, " ", &rest))
		unpark_collect_pins((Oid) strtoul(name, NULL, 10));
	collected_at = moment_now();
	collect_ms = (int) ((collected_at - start) / 1000);
}

bool
tend_parked_rows(void)
{
	static bool all = false;
	uint64		count = activity_count();
	Moment		start = moment_now();

	if (!moment_is_past(looked_at, look_ms * REST) ||
		(count == looked_after && !moment_is_past(looked_at, LOOK_AGAIN_MS)))
		return all && count == looked_after;
	looked_after = count;
	all = look();
	looked_at = moment_now();
	look_ms = (int) ((looked_at - start) / 1000);
	if (moment_is_past(collected_at, Max(COLLECT_MS, collect_ms * REST)))
		collect();
	return all;
}
