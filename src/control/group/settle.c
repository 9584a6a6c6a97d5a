/*
 * settle.c
 *		When no write from before a table became mergeable can come any more.
 *
 * First all members must have learned that the table is mergeable: then nobody makes plain writes
 * of it, and all that were made are here. Then all members must have these, so that every write to
 * come has seen them. Both are positions of our WAL that have to become stable.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "control/group/settle.h"
#include "control/workers/sql.h"

typedef struct Waiting
{
	Oid			relid;
	bool		last;			/* the second wait */
	XLogRecPtr	until;			/* must become stable */
} Waiting;

static List *waiting = NIL;		/* of Waiting *, in TopMemoryContext */

/* The entry of a table, made at first sight. */
static Waiting *
entry_of(Oid relid)
{
	MemoryContext old;
	ListCell   *lc;
	Waiting    *w;

	foreach(lc, waiting)
	{
		w = lfirst(lc);
		if (w->relid == relid)
			return w;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	w = palloc(sizeof(Waiting));
	*w = (Waiting) {.relid = relid,.until = GetXLogInsertRecPtr()};
	waiting = lappend(waiting, w);
	MemoryContextSwitchTo(old);
	return w;
}

/* Looks at one table. */
static void
look_at(Oid relid, XLogRecPtr stable)
{
	Waiting    *w = entry_of(relid);
	const char *params[1] = {psprintf("%u", relid)};

	if (stable < w->until)
		return;
	if (!w->last)
	{
		w->last = true;
		w->until = GetXLogInsertRecPtr();
		return;
	}
	/* not while somebody is writing the table: then another time */
	if (strcmp(sql_value("SELECT replication_plugin.settle_table($1::oid)", 1, params), "t") == 0)
	{
		waiting = list_delete_ptr(waiting, w);
		pfree(w);
	}
}

void
settle_tables(XLogRecPtr stable)
{
	char	   *list = sql_value("SELECT string_agg(c.oid::text, ' ') FROM replication_plugin.mergeable_table m"
								 " JOIN pg_namespace n ON n.nspname = m.schema_name"
								 " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.table_name"
								 " WHERE NOT EXISTS (SELECT FROM replication_plugin.merge_settled s WHERE s.relid = c.oid)",
								 0, NULL);
	char	   *rest = NULL;

	for (char *name = list ? strtok_r(list, " ", &rest) : NULL; name; name = strtok_r(NULL, " ", &rest))
		look_at((Oid) strtoul(name, NULL, 10), stable);
}
