/*
 * join_copy.c
 *		The rows of a joining node: which tables, in which order, and who copies them.
 *
 * The copying is done by sessions of this server, several at a time: each runs
 * copy_table() (copy_table.c), one table in one transaction, and takes the next one when
 * it is through; the largest tables come first. This process hands out the tables and tells
 * people how far it is.
 *
 * The sessions run in replica role, each under a replication origin of its own
 * ("..._repair", "..._repair1", ...; PostgreSQL 15 lets one process at a time hold an
 * origin): so the copied rows have the oldest version, are never sent to anybody, and no
 * trigger or foreign key looks at them. These origins are never dropped while the database is
 * in the group: the rows' commit data points to them.
 *
 * Functions of a table (of CHECKs, say) may read other tables, which another session has just emptied: so two sessions can wait for each other.
 * PostgreSQL ends one of the two; its table is copied once more when no other session is at work.
 *
 * The sessions end with this process, whatever ends it.
 */
#include "postgres.h"

#include <signal.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/peer.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "control/join.h"
#include "control/sql.h"

#define PROGRESS_MS		500

#define COPY_STATEMENT \
	"SELECT rows, bytes FROM replication_plugin.copy_table($1, $2, $3, $4::text[], $5::boolean, $6::boolean, $7::boolean)"

typedef struct CopyTable
{
	char	   *schema;
	char	   *name;
	char	   *columns;		/* as text[] */
	char	   *with_children;	/* booleans as text */
	char	   *binary;
	bool		ours;			/* one of the extension's own tables */
} CopyTable;

typedef struct CopyJob
{
	const char *snapshot;
	bool		empty_each;		/* tables are emptied one by one, as they are copied */
	int			ntables;
	CopyTable  *tables;
	int			next;			/* table that is taken next */
	List	   *again;			/* tables whose copying met a deadlock (CopyTable *) */
	int			done;
	int64		rows;			/* of tables that are done */
	int64		bytes;
	Moment		said_at;
	int			nsessions;
	PGconn	  **sessions;
	CopyTable **at_work;		/* by session; NULL: idle */
} CopyJob;

/*
 * Tables of the source's snapshot: our own, then the largest. Binary values must mean the same here:
 * only columns of built-in types that have a binary form and hold no object's oid.
 */
static const char *const table_query =
"SELECT n.nspname, c.relname,"
" ARRAY(SELECT a.attname::text FROM pg_attribute a"
"  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),"
" c.relkind = 'p',"
" NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem"
"  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
"   AND (t.oid >= 10000 OR t.typtype NOT IN ('b', 'r', 'm') OR t.typsend = 0 OR t.typreceive = 0"
"    OR t.typname LIKE 'reg%' OR e.typname LIKE 'reg%' OR t.typname = 'aclitem' OR e.typname = 'aclitem')),"
" n.nspname = 'replication_plugin'"
" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
" WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384"
" AND (n.nspname = 'replication_plugin' AND c.relname IN ('member', 'member_ready', 'removal', 'topology_setting', 'frontier', 'table_setting', 'mergeable_table', 'column_merge', 'node_priority', 'awaited_state', 'group_setting', 'out_of_step', 'exclusion')"
"  OR n.nspname <> 'replication_plugin' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
"  AND replication_plugin.exclusion(n.nspname, c.relname) IS NULL"
"  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))"
" ORDER BY n.nspname = 'replication_plugin' DESC,"
" coalesce((SELECT sum(pg_total_relation_size(i.relid)) FROM pg_partition_tree(c.oid) i), pg_total_relation_size(c.oid)) DESC";

/* ---------- sessions ---------- */

/* Opens a session of the source inside the snapshot, to read what there is. */
static PGconn *
open_source(Joining *join)
{
	PGconn	   *conn = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin join");

	PQclear(peer_exec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
	PQclear(peer_exec(conn, psprintf("SET TRANSACTION SNAPSHOT %s", quote_literal_cstr(join->snapshot))));
	return conn;
}

/* Opens a session here, under the repair origin of number i. */
static PGconn *
open_session(Joining *join, int i)
{
	PGconn	   *conn = peer_connect(join->local->dsn, PEER_SQL, "replication_plugin copy");
	char	   *origin = i == 0 ? repair_origin_name(MyDatabaseId) :
	psprintf("%s%d", repair_origin_name(MyDatabaseId), i);

	PQclear(peer_exec(conn, "SELECT replication_plugin.hide_secrets(false)"));
	PQclear(peer_exec(conn, "SET application_name = 'replication_plugin copy'"));
	PQclear(peer_exec(conn, "SET client_connection_check_interval = '1s'"));
	PQclear(peer_exec(conn, "SET session_replication_role = replica"));
	PQclear(peer_exec(conn, "SET synchronous_commit = off"));
	PQclear(peer_exec(conn, psprintf("SELECT pg_catalog.pg_replication_origin_create(%s)"
									 " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_origin WHERE roname = %s)",
									 quote_literal_cstr(origin), quote_literal_cstr(origin))));
	PQclear(peer_exec(conn, "SELECT replication_plugin.reload_origins()"));
	PQclear(peer_exec(conn, psprintf("SELECT pg_catalog.pg_replication_origin_session_setup(%s)",
									 quote_literal_cstr(origin))));
	return conn;
}

/* How many sessions: as set, as far as there is room for their origins beside those of the members. */
static int
number_of_sessions(Joining *join)
{
	char	   *used;

	if (!join->local->copy_data)
		return 1;
	used = sql_value("SELECT count(*) FROM pg_replication_origin_status s"
					 " WHERE s.external_id NOT LIKE replication_plugin.origin_name('repair') || '%'", 0, NULL);
	return Max(1, Min(setting_copy_workers, (max_replication_slots - atoi(used)) / 2));
}

/* Ends sessions that an earlier worker has left behind, so that tables and origins are free. */
static void
end_old_sessions(void)
{
	sql_value("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
			  " WHERE datname = current_database() AND application_name = 'replication_plugin copy'"
			  " AND pid <> pg_backend_pid() AND backend_type = 'client backend'", 0, NULL);
}

/* At the process's end: ends its sessions, which would else go on for a while. */
static void
end_sessions(int code, Datum arg)
{
	CopyJob    *job = (CopyJob *) DatumGetPointer(arg);

	for (int i = 0; i < job->nsessions; i++)
	{
		if (job->sessions[i] && job->at_work[i])
			kill(PQbackendPID(job->sessions[i]), SIGTERM);
	}
}

/* ---------- the list ---------- */

/* Reads which tables are to be copied; without data: only those that make this node a member. */
static void
list_tables(CopyJob *job, PGconn *source, bool copy_data)
{
	PGresult   *res = peer_exec(source, table_query);

	job->tables = palloc0(Max(PQntuples(res), 1) * sizeof(CopyTable));
	for (int i = 0; i < PQntuples(res); i++)
	{
		CopyTable  *t = &job->tables[job->ntables];

		t->schema = pstrdup(PQgetvalue(res, i, 0));
		t->name = pstrdup(PQgetvalue(res, i, 1));
		t->columns = pstrdup(PQgetvalue(res, i, 2));
		t->with_children = pstrdup(PQgetvalue(res, i, 3));
		t->binary = pstrdup(PQgetvalue(res, i, 4));
		t->ours = PQgetvalue(res, i, 5)[0] == 't';
		if (copy_data || t->ours)
			job->ntables++;
	}
	PQclear(res);
}

/*
 * Empties all tables at once, unless they are empty. Where the user has made the schema there are
 * foreign keys, which do not let tables be emptied one by one.
 */
static void
empty_tables(CopyJob *job)
{
	StringInfoData list;
	bool		any = false;

	initStringInfo(&list);
	for (int i = 0; i < job->ntables; i++)
	{
		CopyTable  *t = &job->tables[i];
		char	   *name = quote_qualified_identifier(t->schema, t->name);
		PGresult   *res;

		if (t->ours)
			continue;
		appendStringInfo(&list, "%s%s", list.len ? ", " : "", name);
		res = peer_exec(job->sessions[0], psprintf("SELECT EXISTS (SELECT FROM %s)", name));
		any = any || PQgetvalue(res, 0, 0)[0] == 't';
		PQclear(res);
	}
	if (any)
		PQclear(peer_exec(job->sessions[0], psprintf("TRUNCATE %s", list.data)));
}

/* Mergeable tables that are copied. */
static const char *const mergeable_query =
"SELECT pg_catalog.format('%I.%I', m.schema_name, m.table_name) FROM replication_plugin.mergeable_table m"
" JOIN pg_namespace n ON n.nspname = m.schema_name JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.table_name"
" WHERE replication_plugin.exclusion(m.schema_name, m.table_name) IS NULL";

/* Tables that are copied, with a key, whose rows can be in each other's way by more than the key, or were. */
static const char *const contested_query =
"SELECT pg_catalog.format('%I.%I', s.nspname, c.relname) FROM replication_plugin.tables t"
" JOIN pg_class c ON c.oid = t.\"table\" JOIN pg_namespace s ON s.oid = c.relnamespace"
" WHERE t.replicated AND t.identity LIKE 'key %' AND (c.relkind = 'p'"
"  OR (SELECT count(*) > 1 FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion))"
"  OR EXISTS (SELECT FROM replication_plugin.parked_row p WHERE p.relid = c.oid)"
"  OR EXISTS (SELECT FROM replication_plugin.row_pin p WHERE p.relid = c.oid))";

/* Takes over what one table has besides its rows. */
static void
copy_table_states(PGconn *source, PGconn *local, const char *kind, const char *name, const char *function)
{
	PGresult   *states = peer_exec(source, psprintf("SELECT replication_plugin.%s(%s, p.stable_xid)"
													" FROM replication_plugin.stable_point p", function, name));

	PQclear(peer_exec(local, "BEGIN"));
	for (int k = 0; k < PQntuples(states); k++)
		PQclear(peer_exec(local, psprintf("INSERT INTO replication_plugin.join_state VALUES ('%s', %s, %s)", kind, name,
										  quote_literal_cstr(PQgetvalue(states, k, 0)))));
	PQclear(peer_exec(local, "COMMIT"));
	PQclear(states);
}

/* Takes over what some tables have besides their rows; it goes to its place when they have their keys (import_states()). */
static void
copy_states_of(PGconn *source, PGconn *local, const char *query, const char *kind, const char *function)
{
	PGresult   *tables = peer_exec(source, query);

	for (int i = 0; i < PQntuples(tables); i++)
		copy_table_states(source, local, kind, quote_literal_cstr(PQgetvalue(tables, i, 0)), function);
	PQclear(tables);
}

static void
copy_states(PGconn *source, PGconn *local)
{
	PQclear(peer_exec(local, "TRUNCATE replication_plugin.row_state, replication_plugin.parked_row, replication_plugin.row_pin,"
					  " replication_plugin.join_state"));
	copy_states_of(source, local, mergeable_query, "state", "export_states");
	copy_states_of(source, local, contested_query, "parked", "export_parked");
}

/* ---------- copying ---------- */

/* Reads what the sessions at work have done so far. */
static void
read_progress(CopyJob *job, int64 *rows, int64 *bytes)
{
	StringInfoData pids;
	const char *params[1];
	char	   *value;

	initStringInfo(&pids);
	for (int i = 0; i < job->nsessions; i++)
		appendStringInfo(&pids, "%c%d", i ? ',' : '{', PQbackendPID(job->sessions[i]));
	appendStringInfoChar(&pids, '}');
	params[0] = pids.data;
	value = sql_value("SELECT coalesce(sum(tuples_processed), 0) || ' ' || coalesce(sum(bytes_processed), 0)"
					  " FROM pg_stat_progress_copy WHERE pid = ANY ($1::integer[])", 1, params);
	*rows = *bytes = 0;
	if (value)
		sscanf(value, INT64_FORMAT " " INT64_FORMAT, rows, bytes);
}

/* Says how far everything is, not too often. */
static void
say_progress(CopyJob *job)
{
	int64		rows;
	int64		bytes;

	if (!moment_is_past(job->said_at, PROGRESS_MS))
		return;
	job->said_at = moment_now();
	read_progress(job, &rows, &bytes);
	join_progress("copying: table %d of %d, " INT64_FORMAT " rows, " INT64_FORMAT " MB",
				  Min(job->done + 1, job->ntables), job->ntables, job->rows + rows, (job->bytes + bytes) >> 20);
}

/* True if a session is at work. */
static bool
any_at_work(CopyJob *job)
{
	for (int i = 0; i < job->nsessions; i++)
	{
		if (job->at_work[i])
			return true;
	}
	return false;
}

/* The next table for a session that is idle; NULL if there is none for it now. */
static CopyTable *
next_table(CopyJob *job)
{
	CopyTable  *t = NULL;

	/* after a deadlock one session goes on */
	if (job->again != NIL && any_at_work(job))
		return NULL;
	if (job->again != NIL)
	{
		t = linitial(job->again);
		job->again = list_delete_first(job->again);
	}
	else if (job->next < job->ntables)
		t = &job->tables[job->next++];
	return t;
}

/* Gives a session the next table; leaves it idle if there is none. */
static void
start_table(CopyJob *job, int session)
{
	CopyTable  *t;
	const char *params[7];

	job->at_work[session] = NULL;
	t = next_table(job);
	if (!t)
		return;
	params[0] = job->snapshot;
	params[1] = t->schema;
	params[2] = t->name;
	params[3] = t->columns;
	params[4] = t->with_children;
	params[5] = t->binary;
	params[6] = job->empty_each || t->ours ? "true" : "false";
	job->at_work[session] = t;
	if (!PQsendQueryParams(job->sessions[session], COPY_STATEMENT, 7, NULL, params, NULL, NULL, 0))
		PQclear(peer_result(job->sessions[session], "copy_table()"));
}

/* Adds to an error which table it is about. */
static void
copy_error_context(void *arg)
{
	CopyTable  *t = arg;

	errcontext("copying table \"%s.%s\"", t->schema, t->name);
}

/* The result of a session's table; NULL if that has met a deadlock. */
static PGresult *
table_result(PGconn *conn, CopyTable *table)
{
	MemoryContext memory = CurrentMemoryContext;
	ErrorContextCallback context = {error_context_stack, copy_error_context, table};
	PGresult   *volatile res = NULL;

	PG_TRY();
	{
		error_context_stack = &context;
		res = peer_result(conn, "copy_table()");
		error_context_stack = context.previous;
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_T_R_DEADLOCK_DETECTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(memory);
		FlushErrorState();
	}
	PG_END_TRY();
	return res;
}

/* Takes what a session has to say; when its table is done, gives it the next. */
static void
tend_session(CopyJob *job, int session)
{
	PGconn	   *conn = job->sessions[session];
	PGresult   *res;

	if (PQconsumeInput(conn) != 0 && PQisBusy(conn))
		return;
	res = table_result(conn, job->at_work[session]);
	if (!res)
	{
		ereport(LOG,
				(errmsg("copying table \"%s.%s\" met a deadlock; it is done once more by itself",
						job->at_work[session]->schema, job->at_work[session]->name)));
		job->again = lappend(job->again, job->at_work[session]);
		start_table(job, session);
		return;
	}
	job->rows += atoll(PQgetvalue(res, 0, 0));
	job->bytes += atoll(PQgetvalue(res, 0, 1));
	PQclear(res);
	job->done++;
	start_table(job, session);
}

/* Waits until a session has something to say. */
static void
wait_for_sessions(CopyJob *job)
{
	WaitEventSet *set = CreateWaitEventSet(CurrentMemoryContext, job->nsessions + 2);
	WaitEvent	event;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < job->nsessions; i++)
	{
		if (job->at_work[i])
			AddWaitEventToSet(set, WL_SOCKET_READABLE, PQsocket(job->sessions[i]), NULL, NULL);
	}
	WaitEventSetWait(set, PROGRESS_MS, &event, 1, PG_WAIT_EXTENSION);
	FreeWaitEventSet(set);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Works until all tables are done. */
static void
run_job(CopyJob *job)
{
	for (int i = 0; i < job->nsessions; i++)
		start_table(job, i);
	while (job->done < job->ntables)
	{
		wait_for_sessions(job);
		for (int i = 0; i < job->nsessions; i++)
		{
			if (job->at_work[i])
				tend_session(job, i);
		}
		/* when all that met a deadlock are done, the others go on as well */
		for (int i = 0; i < job->nsessions; i++)
		{
			if (!job->at_work[i])
				start_table(job, i);
		}
		say_progress(job);
	}
}

/* Opens the sessions; they end with this process. */
static void
open_sessions(CopyJob *job, Joining *join)
{
	int			n = number_of_sessions(join);

	end_old_sessions();
	job->sessions = palloc0(n * sizeof(PGconn *));
	job->at_work = palloc0(n * sizeof(CopyTable *));
	before_shmem_exit(end_sessions, PointerGetDatum(job));
	for (int i = 0; i < n; i++)
	{
		job->sessions[i] = open_session(join, i);
		job->nsessions++;
	}
}

void
join_copy_tables(Joining *join)
{
	/* lives until the process ends: end_sessions looks at it */
	CopyJob    *job = MemoryContextAllocZero(TopMemoryContext, sizeof(CopyJob));
	PGconn	   *source = open_source(join);

	job->snapshot = join->snapshot;
	job->empty_each = join->local->copy_schema;
	open_sessions(job, join);
	list_tables(job, source, join->local->copy_data);
	if (!job->empty_each && join->local->copy_data)
		empty_tables(job);
	run_job(job);
	if (join->local->copy_data)
	{
		join_copy_sequences(join, true);
		copy_states(source, job->sessions[0]);
	}
	PQfinish(source);
	for (int i = 0; i < job->nsessions; i++)
		PQfinish(job->sessions[i]);
	job->nsessions = 0;
}
