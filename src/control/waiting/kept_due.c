/*
 * kept_due.c
 *		Selects the waiting tables that are visited now.
 *
 * A table that fails is visited again after a pause, which doubles each time, up to a minute. A
 * table whose try took long is visited again after a multiple of that time. Local DDL on the table,
 * or on functions and types, may have solved the problem: then the table is due sooner, but not
 * more often than other tables can bear, whatever its owner does.
 *
 * DDL on the table itself resets its time limit, and the table is due some seconds after its last
 * try. Functions and types are changed by all users all the time: each temporary table has a type.
 * Such a change leaves the limit as it is, so a table whose try took long is due after a multiple
 * of that time.
 *
 * One transaction may take QUICK_MS, and twice as long with each try that ended at that limit: so a
 * transaction that is large, but not slow, succeeds in the end. If its rows are slow, the doubling
 * ends sooner. Owners take turns: one table of each owner comes first, and the owner visited
 * longest ago is the first of these. An owner with a table whose failed try took longer than
 * SLOW_MS is slow. Of the tables of slow owners, one is visited, after all other due tables. A slow
 * owner's table that has ended at its limit is not visited while another one of that owner rests.
 * So an owner with slow code delays the kept changes of others by one limit at most, and takes a
 * small part of the time, however many tables the owner has.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "control/waiting/kept_due.h"
#include "control/workers/sql.h"

#define QUICK_MS		10000	/* for one transaction, initially */
#define MOST_DOUBLINGS	8		/* of QUICK_MS ... */
#define MOST_IF_SLOW	5		/* ... if rows are slow */
#define SLOW_MS			"1000"	/* a try that failed and took longer is slow */
#define LONGEST_PAUSE	"60"	/* seconds, between visits of a table that fails at once */
#define REST			10		/* code that takes too long gets 1/REST of the time */
#define ROW_MS			10		/* rows that take longer are slow */
#define SOONEST			"5"		/* seconds after the last try, after DDL here ... */
#define SOONEST_SLOW	"30"	/* ... if that try took long */
#define LONGER			"3"		/* least multiple of its time, if any table may be meant */
#define MOST_CHANGED	64		/* changed tables remembered; beyond that, any may be meant */
#define MOST_SOONER		20		/* tables made due at a time, if any may be meant */

struct Changes
{
	Oid			tables[MOST_CHANGED];	/* changed since the last round */
	int			n;
	bool		any;			/* functions, types, or too many tables have changed */
};

/* Notes a change of a table, or of all of them. */
static void
kept_due_table_changed(Datum arg, Oid relid)
{
	Changes    *c = (Changes *) DatumGetPointer(arg);

	Assert(c->n <= MOST_CHANGED);
	for (int i = 0; i < c->n; i++)
	{
		if (c->tables[i] == relid)
			return;
	}
	if (OidIsValid(relid) && c->n < MOST_CHANGED)
		c->tables[c->n++] = relid;
	else
		c->any = true;
}

/* Notes a change of another object that code of tables may depend on. */
static void
code_changed(Datum arg, int cacheid, uint32 hash)
{
	((Changes *) DatumGetPointer(arg))->any = true;
}

Changes *
kept_due_listen(void)
{
	Changes    *c = MemoryContextAllocZero(TopMemoryContext, sizeof(Changes));
	const int	caches[] = {PROCOID, TYPEOID, ENUMOID, NAMESPACEOID, AUTHMEMROLEMEM};

	CacheRegisterRelcacheCallback(kept_due_table_changed, PointerGetDatum(c));
	for (int i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], code_changed, PointerGetDatum(c));
	return c;
}

/* When a changed table is due. */
#define SOONER	"greatest(clock_timestamp(), w.tried_at + CASE WHEN w.spent < " SLOW_MS " THEN interval '" SOONEST " s' ELSE interval '" SOONEST_SLOW " s' END)"

/* When a table is due if the change may concern any table. Its time limit stays. */
#define ANY_SOONER	"greatest(" SOONER ", w.tried_at + w.spent * interval '" LONGER " ms')"

/* Makes changed tables due sooner, with their initial time limit. */
static void
have_changed_ones_sooner(Changes *c)
{
	StringInfoData list;
	const char *params[1];

	if (c->n == 0)
		return;
	initStringInfo(&list);
	for (int i = 0; i < c->n; i++)
		appendStringInfo(&list, "%s%u", i == 0 ? "{" : ",", c->tables[i]);
	appendStringInfoChar(&list, '}');
	c->n = 0;
	params[0] = list.data;
	sql_value("UPDATE replication_plugin.waiting_table w SET retry_at = " SOONER ", over = 0"
			  " FROM unnest($1::oid[]) o JOIN pg_class c ON c.oid = coalesce(pg_partition_root(o), o) JOIN pg_namespace n ON n.oid = c.relnamespace"
			  " WHERE w.schema_name = n.nspname AND w.table_name = c.relname AND w.retry_at > " SOONER, 1, params);
}

/*
 * Makes some tables due sooner if a change may concern any table; the others follow in the next
 * rounds.
 */
static void
have_any_sooner(Changes *c)
{
	char	   *n;

	if (!c->any)
		return;
	c->any = false;
	n = sql_value(psprintf("WITH s AS (UPDATE replication_plugin.waiting_table w SET retry_at = " ANY_SOONER " WHERE w.number IN (SELECT w.number FROM replication_plugin.waiting_table w"
						   " WHERE w.retry_at > " ANY_SOONER " + interval '1 s' ORDER BY w.tried_at LIMIT %d) RETURNING 1) SELECT count(*) FROM s", MOST_SOONER), 0, NULL);
	if (n && atoi(n) == MOST_SOONER)
		c->any = true;
}

#define IS_SLOW	" EXISTS (SELECT FROM replication_plugin.waiting_table s WHERE s.owner = w.owner AND s.spent >= " SLOW_MS ")"

/*
 * The due tables that exist on this node, or are excluded by now, with figures over all tables of
 * their owner.
 */
#define DUE	"WITH w AS (SELECT *, bool_or(spent >= " SLOW_MS ") OVER o AS is_slow, max(tried_at) OVER o AS owner_tried_at, bool_or(over > 0 AND retry_at > clock_timestamp()) OVER o AS owner_rests" \
	"  FROM replication_plugin.waiting_table WHERE kept WINDOW o AS (PARTITION BY owner))," \
	" due AS (SELECT w.*, row_number() OVER (PARTITION BY owner ORDER BY tried_at NULLS FIRST) AS turn FROM w WHERE coalesce(w.retry_at <= clock_timestamp(), true) AND w.number IN (" \
	"SELECT x.number FROM replication_plugin.waiting_table x JOIN pg_namespace n ON n.nspname = x.schema_name JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = x.table_name" \
	" UNION ALL SELECT x.number FROM replication_plugin.waiting_table x WHERE (EXISTS (SELECT FROM replication_plugin.exclusion)" \
	"  OR EXISTS (SELECT FROM replication_plugin.table_setting)) AND replication_plugin.exclusion(x.schema_name, x.table_name) IS NOT NULL)) "

static const char begin_try_sql[] =
	"UPDATE replication_plugin.waiting_table w"
	" SET tries = tries + 1, tried_at = clock_timestamp(), spent = greatest(spent, " SLOW_MS "),"
	" retry_at = clock_timestamp() + least(power(2, least(tries, 10)), " LONGEST_PAUSE ") *"
	" interval '1 second'"
	" WHERE number = $1::integer AND ($2 = '1' OR NOT" IS_SLOW ") RETURNING 1";
static const char tries_over_sql[] =
	"SELECT w.over FROM replication_plugin.waiting_table w WHERE w.number = $1::integer";
static const char note_failure_sql[] =
	"UPDATE replication_plugin.waiting_table"
	" SET reason = $2, tried_at = clock_timestamp(), spent = $3::integer,"
	" tries = CASE WHEN $6 = '1' THEN 1 ELSE tries END, over = CASE"
	" WHEN $5 = '1' THEN least(over + 1, $7::integer) ELSE 0 END,"
	" retry_at = clock_timestamp() + greatest($4::integer * interval '1 ms', CASE"
	" WHEN $5 = '1' THEN NULL WHEN $6 = '1' THEN interval '1 second'"
	"  ELSE retry_at - clock_timestamp() END) WHERE number = $1::integer";
static const char note_success_sql[] =
	"UPDATE replication_plugin.waiting_table"
	" SET tries = 0, over = 0, spent = 0, retry_at = clock_timestamp() + $2::integer * interval"
	" '1 second' WHERE number = $1::integer";

char *
kept_due(Changes *changes, char **slow)
{
	have_changed_ones_sooner(changes);
	have_any_sooner(changes);
	*slow = sql_value(DUE "SELECT number::text FROM due WHERE is_slow AND NOT (over > 0 AND coalesce(owner_rests, false)) ORDER BY owner_tried_at NULLS FIRST, turn LIMIT 1", 0, NULL);
	return sql_value(DUE "SELECT string_agg(number::text, ' ' ORDER BY turn, owner_tried_at NULLS FIRST) FROM due WHERE NOT is_slow", 0, NULL);
}

bool
kept_due_begin(const char *number, bool slow)
{
	const char *params[2] = {number, slow ? "1" : "0"};

	/* the table counts as slow until the try is known not to be */
	return sql_value(begin_try_sql, 2, params) != NULL;
}

int
kept_due_limit(const char *number)
{
	char	   *over = sql_value(tries_over_sql, 1, &number);

	return QUICK_MS << Min(over ? atoi(over) : 0, MOST_DOUBLINGS);
}

/* Returns true if so many changes in that time mean that rows are slow. */
static bool
are_slow(int ms, int changes)
{
	return ms / Max(changes, 1) > ROW_MS;
}

/* Returns how often the time limit can double. */
static int
most_doublings(bool slow_rows)
{
	return slow_rows ? MOST_IF_SLOW : MOST_DOUBLINGS;
}

bool
kept_due_is_most(int limit, int changes)
{
	return limit >= QUICK_MS << most_doublings(are_slow(limit, changes));
}

void
kept_due_failed(const char *number, const char *reason, int ms, int changes, bool limited,
				bool progress)
{
	bool		slow_rows = are_slow(ms, changes);
	int			pause = limited || ms > atoi(SLOW_MS) ? ms * (slow_rows ? (int64) REST : 1) : 0;
	const char *params[7] = {number,
							 reason,
							 psprintf("%d", ms),
							 psprintf("%d", pause),
							 limited ? "1" : "0",
							 progress ? "1" : "0",
							 psprintf("%d", most_doublings(slow_rows))};

	sql_value(note_failure_sql, 7, params);
}

void
kept_due_worked(const char *number, bool pause)
{
	const char *params[2] = {number, pause ? "2" : NULL};

	sql_value(note_success_sql, 2, params);
}
