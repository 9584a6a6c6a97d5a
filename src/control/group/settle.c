/*
 * settle.c
 *		Finds out when no plain write to a mergeable table can arrive any more.
 *
 * First, all members must have learned that the table is mergeable: then no member makes plain
 * writes to it, and this node has all that were made. Then all members must have these writes, so
 * that every future write has seen them. Both are positions of the local WAL that have to become
 * stable.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "control/group/settle.h"
#include "control/workers/sql.h"

static const char settle_table_sql[] = "SELECT replication_plugin.settle_table($1::oid)";
static const char unsettled_tables_sql[] =
	"SELECT string_agg(c.oid::text, ' ') FROM replication_plugin.mergeable_table m"
	" JOIN pg_namespace n ON n.nspname = m.schema_name"
	" JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.table_name"
	" WHERE NOT EXISTS (SELECT FROM replication_plugin.merge_settled s WHERE s.relid = c.oid)";

typedef struct Waiting
{
	Oid			relid;
	bool		last;			/* the second of the two waits */
	XLogRecPtr	until;			/* position that must become stable */
} Waiting;

/* Returns the entry of a table, which is made at first sight. */
static Waiting *
settle_entry_of(Settling *settling, Oid relid)
{
	MemoryContext old;
	ListCell   *lc;
	Waiting    *w;

	foreach(lc, settling->waiting)
	{
		w = lfirst(lc);
		if (w->relid == relid)
			return w;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	w = palloc(sizeof(Waiting));
	*w = (Waiting) {.relid = relid,.until = GetXLogInsertRecPtr()};
	settling->waiting = lappend(settling->waiting, w);
	MemoryContextSwitchTo(old);
	return w;
}

/* Checks one table. */
static void
settle_look_at(Settling *settling, Oid relid, XLogRecPtr stable)
{
	Waiting    *w = settle_entry_of(settling, relid);
	const char *params[1] = {psprintf("%u", relid)};

	if (stable < w->until)
		return;
	if (!w->last)
	{
		w->last = true;
		w->until = GetXLogInsertRecPtr();
		return;
	}
	/* fails while a session is writing to the table: then it is tried again later */
	if (strcmp(sql_value(settle_table_sql, 1, params), "t") == 0)
	{
		settling->waiting = list_delete_ptr(settling->waiting, w);
		pfree(w);
	}
}

void
settle_tables(Settling *settling, XLogRecPtr stable)
{
	char	   *list = sql_value(unsettled_tables_sql, 0, NULL);
	char	   *rest = NULL;

	for (char *name = list ? strtok_r(list, " ", &rest) : NULL; name;
		 name = strtok_r(NULL, " ", &rest))
		settle_look_at(settling, (Oid) strtoul(name, NULL, 10), stable);
}
