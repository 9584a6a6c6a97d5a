/*
 * gone_table.c
 *		Gives up what is kept of waiting tables that no member has any more.
 *
 * A table that does not exist on this node waits until it is created. It may also have been a
 * scratch table of one node, or have been dropped everywhere since: then its changes would be kept
 * for ever. Therefore the other members are asked every so often which of these tables they have.
 * Each member is asked once, about all tables that the members before it did not have. A table that
 * no member has under its name may have been renamed: so the providers of the kept changes are also
 * asked by its OIDs on them. The changes of a table that is gone are passed over, as a link does
 * with rows of such a table (receive/lost_table.c). A member that cannot be asked may have the
 * table, and so may a member that is creating tables at the moment (receive/unseen_table.c): then
 * all tables go on waiting, and their reason says so.
 *
 * Changes that arrive after the questions may be of a table that was created anew: they stay until
 * the next round.
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/moment.h"
#include "base/peer.h"
#include "base/pulse.h"
#include "catalog/nodes.h"
#include "control/waiting/gone_table.h"
#include "control/workers/sql.h"
#include "receive/unseen_table.h"
#include "shared/origin_map.h"

#define ASK_MS		10000
#define REST		10			/* asking takes at most 1/REST of the time */
#define ANSWER_MS	10000		/* for an answer */
#define MOST_TABLES	"2000"		/* asked about at once */
#define MOST_CHANGES	100000	/* deleted in one transaction */
#define FORGET_MS	2000		/* in one round: other tables wait for this process */

/*
 * Queries for the tables that a member does not have: by name, and by OID if the member is provider
 * $2. The latter finds tables under any name.
 */
#define NOT_BY_NAME	"SELECT pg_catalog.json_agg(t.t) FROM pg_catalog.json_array_elements($1::pg_catalog.json) t(t) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c" \
	" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = t.t->>1 AND c.relname = t.t->>2)"
#define NOT_BY_NUMBER	"SELECT pg_catalog.json_agg(t.t) FROM pg_catalog.json_array_elements($1::pg_catalog.json) t(t) WHERE NOT EXISTS (SELECT FROM pg_catalog.json_array_elements(t.t->3) s(s)" \
	" JOIN pg_catalog.pg_class c ON c.oid = (s.s->>1)::pg_catalog.oid AND c.relkind IN ('r', 'p') WHERE s.s->>0 = $2)"
#define RENAMED	"SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.t->0, pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.format('%I.%I', t.t->>1, t.t->>2)))" \
	" FROM pg_catalog.json_array_elements($1::pg_catalog.json) t(t), pg_catalog.json_array_elements(t.t->3) s(s)" \
	" JOIN pg_catalog.pg_class c ON c.oid = (s.s->>1)::pg_catalog.oid AND c.relkind IN ('r', 'p') JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE s.s->>0 = $2"

static const char note_renamed_sql[] =
	"UPDATE replication_plugin.waiting_table w SET reason = r.reason"
	" FROM (SELECT (t->>0)::integer AS number,"
	" format('table %s does not exist here: node \"%s\" had it under that name, and calls it %s"
	" now."
	"  HINT: Give the table that belongs to it here its former name until nothing of it waits,"
	" and rename it then.', t->>2, $2, t->>1) AS reason FROM json_array_elements($1::json) t) r"
	" WHERE w.number = r.number AND w.reason <> r.reason";
static const char note_having_sql[] =
	"UPDATE replication_plugin.waiting_table w SET reason = r.reason"
	" FROM (SELECT (t->>0)::integer AS number,"
	" format('table %I.%I does not exist here; node \"%s\" has it', t->>1, t->>2, $3) AS reason"
	" FROM json_array_elements($1::json) t"
	"  WHERE t->>0 NOT IN (SELECT l->>0 FROM json_array_elements($2::json) l)) r"
	" WHERE w.number = r.number AND w.reason <> r.reason";
static const char note_silent_sql[] =
	"UPDATE replication_plugin.waiting_table w SET reason = r.reason"
	" FROM (SELECT (t->>0)::integer AS number,"
	" format('table %I.%I does not exist here, and node \"%s\" %s', t->>1, t->>2, $2,"
	" $3) AS reason"
	"  FROM json_array_elements($1::json) t) r"
	" WHERE w.number = r.number AND w.reason <> r.reason";
static const char name_of_table_sql[] =
	"SELECT format('%I.%I', schema_name, table_name) FROM replication_plugin.waiting_table"
	" WHERE number = $1::integer";
static const char forget_missing_sql[] =
	"SELECT replication_plugin.forget_missing($1::integer, $2::bigint, $3::integer)";
static const char end_waiting_sql[] = "SELECT replication_plugin.end_waiting($1::integer)";
static const char missing_tables_sql[] =
	"SELECT replication_plugin.missing_tables($1::integer, " MOST_TABLES ")";
static const char first_missing_tables_sql[] =
	"SELECT replication_plugin.missing_tables(0, " MOST_TABLES ")";
static const char last_number_sql[] =
	"SELECT max((t->>0)::integer) FROM json_array_elements($1::json) t";
static const char numbers_of_missing_sql[] =
	"SELECT replication_plugin.numbers_of_missing($1::json)";
static const char numbers_of_tables_sql[] =
	"SELECT string_agg(t->>0, ' ') FROM json_array_elements($1::json) t";
static const char last_change_sql[] =
	"SELECT last_value FROM replication_plugin.waiting_change_id_seq";

/* The state of one round of questions. */
typedef struct Inquiry
{
	/* tables that no member has had so far, as JSON (missing_tables()); NULL: none */
	char	   *tables;
	const NodeRow *silent;		/* a member that could not be asked, ... */
	bool		is_making;		/* ... or one that is creating tables */
} Inquiry;

/*
 * Returns all other members, those with greater numbers first, so that not all nodes ask the same
 * member first. Allocates in the caller's context.
 */
static List *
members_in_turn(void)
{
	NodeId		me;
	List	   *before = NIL;
	List	   *after = NIL;
	ListCell   *lc;

	foreach(lc, nodes_others(&me))
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id > me)
			after = lappend(after, n);
		else
			before = lappend(before, n);
	}
	return list_concat(after, before);
}

/* Runs a query that returns one value, or NULL. Raises an error if the answer takes too long. */
static char *
gone_table_query(PGconn *conn, const char *sql, const char *tables, NodeId node)
{
	const char *params[2] = {tables, psprintf("%d", node)};
	PGresult   *res = peer_exec_within(conn, sql, strstr(sql, "$2") ? 2 : 1, params, ANSWER_MS);
	char	   *value =
		  PQntuples(res) > 0 && !PQgetisnull(res, 0, 0) ? pstrdup(PQgetvalue(res, 0, 0)) : NULL;

	PQclear(res);
	return value;
}

/* Sets the reason of tables that a member has under another name now to what can be done. */
static void
note_renamed(const NodeRow *n, const char *renamed)
{
	const char *params[2] = {renamed, n->node_name};

	sql_value(note_renamed_sql, 2, params);
}

/*
 * Sets the reason of tables that a member has, and that wait to be created on this node: the tables
 * that the member was asked about, except those that are left.
 */
static void
note_having(const NodeRow *n, const char *tables, const char *left)
{
	const char *params[3] = {tables, left ? left : "[]", n->node_name};

	sql_value(note_having_sql, 3, params);
}

/* Asks one member, and removes the tables that it has from the list. */
static void
gone_table_ask(Inquiry *q, const NodeRow *n, bool by_number)
{
	MemoryContext context = CurrentMemoryContext;
	PGconn	   *volatile conn = NULL;
	char	   *volatile renamed = NULL;
	char	   *before = q->tables;

	PG_TRY();
	{
		bool		unseen;

		conn = peer_connect(n->dsn, PEER_SQL, "replication_plugin table");
		unseen = unseen_tables(conn);	/* must come before the query for the tables */
		if (by_number)
			renamed = gone_table_query(conn, RENAMED, q->tables, n->node_id);
		q->tables =
			gone_table_query(conn, by_number ? NOT_BY_NUMBER : NOT_BY_NAME, q->tables, n->node_id);
		q->is_making = q->tables && unseen;
		if (q->is_making)
			q->silent = n;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		q->silent = n;
	}
	PG_END_TRY();
	if (conn)
		PQfinish(conn);
	if (renamed)
		note_renamed(n, renamed);
	else if (!q->silent && !by_number)
		note_having(n, before, q->tables);
}

/* Asks members until no table is left, or one member cannot answer. */
static void
ask_all(Inquiry *q, List *members, bool by_number)
{
	ListCell   *lc;

	foreach(lc, members)
	{
		if (!q->tables || q->silent)
			return;
		gone_table_ask(q, lfirst(lc), by_number);
		pulse_rest();
	}
}

/* Sets the reason of the tables to name the member for whose answer they wait. */
static void
note_silent(const Inquiry *q)
{
	const char *params[3] = {q->tables, q->silent->node_name,
							 q->is_making ? "is just making tables: it may be one of them"
										  : "cannot be asked whether it has it"};

	sql_value(note_silent_sql, 3, params);
}

/*
 * Gives up what is kept of one table, up to an id. Returns false if time did not suffice for all of
 * it.
 */
static bool
gone_table_forget(const char *number, const char *last_id, Moment begun)
{
	const char *params[3] = {number, last_id, CppAsString2(MOST_CHANGES)};
	char	   *name = sql_value(name_of_table_sql, 1, &number);
	int64		n = 0;
	int64		all = 0;

	if (moment_is_past(begun, FORGET_MS))
		return false;
	while (name && !moment_is_past(begun, FORGET_MS))
	{
		char	   *count = sql_repair(forget_missing_sql, 3, params,
									origin_map_origin(ORIGIN_NODE_REPAIR));

		n = count ? strtoll(count, NULL, 10) : 0;
		all += n;
		if (n < MOST_CHANGES)
			break;
		pulse_rest();
	}
	if (all > 0)
		ereport(LOG,
				(errmsg(INT64_FORMAT " changes of table %s that were kept here are passed over: no member has it any more", all, name)));
	if (!name || n == MOST_CHANGES)
		return !name;
	sql_repair_with_subtransactions(end_waiting_sql, 1, &number,
									origin_map_origin(ORIGIN_NODE_REPAIR));
	return true;
}

/* Returns the tables that follow those of the last round, or the first ones. */
static char *
next_tables(GoneTables *gone)
{
	char	   *tables = sql_value_int(missing_tables_sql, gone->last_number);

	if (!tables && gone->last_number > 0)
		tables = sql_value(first_missing_tables_sql, 0, NULL);
	if (tables)
		gone->last_number = atoi(sql_value(last_number_sql, 1, (const char *const *) &tables));
	return tables;
}

/* Asks about some tables, and gives up those that are gone. */
static void
gone_table_look(GoneTables *gone, char *last_id)
{
	Inquiry		q = {.tables = next_tables(gone)};
	List	   *members = q.tables ? members_in_turn() : NIL;
	Moment		begun;
	char	   *rest = NULL;
	char	   *list;

	ask_all(&q, members, false);
	if (q.tables && !q.silent)
	{
		q.tables = sql_value(numbers_of_missing_sql, 1, (const char *const *) &q.tables);
		ask_all(&q, members, true);
	}
	if (!q.tables)
		return;
	if (q.silent)
	{
		note_silent(&q);
		return;
	}
	list = sql_value(numbers_of_tables_sql, 1, (const char *const *) &q.tables);
	begun = moment_now();
	for (char *number = list ? strtok_r(list, " ", &rest) : NULL; number;
		 number = strtok_r(NULL, " ", &rest))
	{
		if (!gone_table_forget(number, last_id, begun))
			return;
	}
}

void
gone_table_round(GoneTables *gone)
{
	MemoryContext context;
	MemoryContext old;
	char	   *last_id;
	Moment		begun = moment_now();

	Assert(!IsTransactionState());
	if (gone->asked != 0 && !moment_is_past(gone->asked, Max(ASK_MS, gone->took_ms * REST)))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "gone tables", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	/* ids that were assigned before any member is asked */
	last_id = sql_value(last_change_sql, 0, NULL);
	if (last_id)
		gone_table_look(gone, last_id);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	gone->asked = moment_now();
	gone->took_ms = (int) ((gone->asked - begun) / 1000);
}
