/*
 * join_copy.c
 *		Copies the rows of a joining node: selects the tables and their order, and runs the
 *		workers.
 *
 * Several workers of this server copy at a time. Each runs copy_table() (copy_table.c), one table
 * in one transaction, and then takes the next one (copy_pool.c). The largest tables come first.
 * This process makes the list and reports progress.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/peer.h"
#include "base/settings.h"
#include "catalog/agreement.h"
#include "catalog/names.h"
#include "control/join/copy_pool.h"
#include "control/join/join.h"
#include "control/workers/sql.h"

#define PROGRESS_MS		500

#define COPY_STATEMENT \
	"SELECT rows, bytes FROM replication_plugin.copy_table($1, $2, $3, $4::text[], $5::boolean, $6::boolean, $7::boolean)"

static const char set_snapshot_sql[] = "SET TRANSACTION SNAPSHOT %s";
static const char places_in_use_sql[] =
	"SELECT count(*) FROM pg_replication_origin_status s"
	" WHERE s.external_id NOT LIKE replication_plugin.origin_name('repair') || '%'";
static const char has_rows_sql[] = "SELECT EXISTS (SELECT FROM %s)";
static const char empty_tables_sql[] =
	"SELECT replication_plugin.empty_tables(ARRAY[%s]::regclass[])";
static const char insert_state_sql[] =
	"INSERT INTO replication_plugin.join_state VALUES ($1, $2, $3::jsonb)";
static const char states_of_table_sql[] =
	"SELECT replication_plugin.%s(%s, p.stable_xid)"
	" FROM replication_plugin.stable_point p";
static const char truncate_states_sql[] =
	"TRUNCATE replication_plugin.row_state, replication_plugin.parked_row,"
	" replication_plugin.row_pin,"
	" replication_plugin.join_state";
static const char copy_progress_sql[] =
	"SELECT coalesce(sum(tuples_processed), 0) || ' ' || coalesce(sum(bytes_processed), 0)"
	" FROM pg_stat_progress_copy WHERE pid = ANY ($1::integer[])";

/* The tables to copy, as tasks. Schema and name are parameters of a task. */
typedef struct CopyJob
{
	int			ntables;
	CopyTask   *tables;
	Moment		said_at;
} CopyJob;

#define TASK_SCHEMA		1		/* parameters of a task */
#define TASK_NAME		2

#define FIRST_NAME(name)	"'" name "'"	/* a list of names in SQL */
#define NEXT_NAME(name)		", '" name "'"

/*
 * Query to the source: the tables in the snapshot, the extension's own first, then the largest.
 * Binary values must mean the same on both nodes: only columns of built-in types qualify that have
 * a binary form and do not contain the OID of an object.
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
" AND (n.nspname = 'replication_plugin' AND c.relname IN (" OWN_COPIED_TABLES(FIRST_NAME, NEXT_NAME) ")"
"  OR n.nspname <> 'replication_plugin' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
"  AND replication_plugin.exclusion(n.nspname, c.relname) IS NULL"
"  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))"
" ORDER BY n.nspname = 'replication_plugin' DESC,"
" coalesce((SELECT sum(pg_total_relation_size(i.relid)) FROM pg_partition_tree(c.oid) i), pg_total_relation_size(c.oid)) DESC";

static const char *const group_protocol_query = "SELECT replication_plugin.group_protocol()";

PGconn *
join_open_source(Joining *join)
{
	PGconn	   *conn = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin join");

	PQclear(peer_exec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
	PQclear(peer_exec(conn, psprintf(set_snapshot_sql, quote_literal_cstr(join->snapshot))));
	return conn;
}

/*
 * Returns the number of workers: as set, limited by the free replication origins beside those of
 * the members.
 */
static int
number_of_workers(Joining *join)
{
	char	   *used;

	if (!join->local->copy_data)
		return 1;
	used = sql_value(places_in_use_sql, 0, NULL);
	return Max(1, Min(setting_copy_workers, (most_origins - atoi(used)) / 2));
}

/* ---------- the list ---------- */

/*
 * Raises an error unless this library speaks the protocol on which the group has agreed in the
 * snapshot: then no table of the extension has values there of which this version has no column.
 */
static void
join_copy_check_protocol(PGconn *source)
{
	PGresult   *res = peer_exec(source, group_protocol_query);
	char	   *fix;
	char	   *problem = protocol_problem(atoi(PQgetvalue(res, 0, 0)), &fix);

	PQclear(res);
	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s", problem),
				 errhint("Call leave_group() here. %s Then join again.", fix)));
}

/* Lists the tables to copy. Without copy_data, these are only the extension's own tables. */
static void
list_tables(CopyJob *job, Joining *join, PGconn *source)
{
	PGresult   *res;

	join_copy_check_protocol(source);
	res = peer_exec(source, table_query);
	job->tables = palloc0(Max(PQntuples(res), 1) * sizeof(CopyTask));
	for (int i = 0; i < PQntuples(res); i++)
	{
		bool		ours = PQgetvalue(res, i, 5)[0] == 't';
		CopyTask   *t = &job->tables[job->ntables];

		if (!join->local->copy_data && !ours)
			continue;
		t->what = psprintf("copying table \"%s.%s\"", PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
		t->sql = COPY_STATEMENT;
		t->nparams = 7;
		t->params[0] = join->snapshot;
		for (int k = 0; k < 5; k++)
			t->params[k + 1] = pstrdup(PQgetvalue(res, i, k));
		t->params[6] = join->local->copy_schema || ours ? "true" : "false";
		job->ntables++;
	}
	PQclear(res);
}

/* Reports nothing. */
static void
be_quiet(const CopyProgress *progress, void *arg)
{
}

/*
 * Empties all tables together, unless all are empty. If the user has created the schema, foreign
 * keys keep tables from being emptied one by one.
 */
static void
empty_tables(CopyJob *job)
{
	StringInfoData list;
	bool		any = false;
	CopyTask	task = {.what = "emptying the tables"};

	initStringInfo(&list);
	for (int i = 0; i < job->ntables; i++)
	{
		CopyTask   *t = &job->tables[i];
		char	   *name = quote_qualified_identifier(t->params[TASK_SCHEMA], t->params[TASK_NAME]);

		if (strcmp(t->params[TASK_SCHEMA], EXTENSION_SCHEMA) == 0)
			continue;
		appendStringInfo(&list, "%s%s", list.len ? ", " : "", quote_literal_cstr(name));
		any = any || strcmp(sql_value(psprintf(has_rows_sql, name), 0, NULL), "t") == 0;
	}
	if (!any)
		return;
	task.sql = psprintf(empty_tables_sql, list.data);
	copy_pool_run(&task, 1, 1, be_quiet, NULL);
}

/* Query for mergeable tables that are copied. */
static const char *const mergeable_query =
"SELECT pg_catalog.format('%I.%I', m.schema_name, m.table_name) FROM replication_plugin.mergeable_table m"
" JOIN pg_namespace n ON n.nspname = m.schema_name JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.table_name"
" WHERE replication_plugin.exclusion(m.schema_name, m.table_name) IS NULL";

/*
 * Query for copied tables with a key whose rows can conflict, or have conflicted, by another
 * constraint than equality of the key.
 */
static const char *const contested_query =
"SELECT pg_catalog.format('%I.%I', s.nspname, c.relname) FROM replication_plugin.tables t"
" JOIN pg_class c ON c.oid = t.\"table\" JOIN pg_namespace s ON s.oid = c.relnamespace"
" WHERE t.replicated AND t.identity LIKE 'key %' AND (c.relkind = 'p'"
"  OR (SELECT count(*) > 1 FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion))"
"  OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisexclusion)"
"  OR EXISTS (SELECT FROM replication_plugin.parked_row p WHERE p.relid = c.oid)"
"  OR EXISTS (SELECT FROM replication_plugin.row_pin p WHERE p.relid = c.oid))";

/* Stores the states of one table in join_state, in one transaction. */
static void
store_states(PGresult *states, const char *kind, const char *name)
{
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	OwnTransaction t = sql_transaction_begin();

	SPI_connect();
	for (int k = 0; k < PQntuples(states); k++)
	{
		Datum values[3] = {CStringGetTextDatum(kind), CStringGetTextDatum(name),
						   CStringGetTextDatum(PQgetvalue(states, k, 0))};

		if (SPI_execute_with_args(insert_state_sql,
								  3, types, values, NULL, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not store a state");
		for (int i = 0; i < 3; i++)
			pfree(DatumGetPointer(values[i]));
	}
	SPI_finish();
	own_transaction_end(&t);
}

/*
 * Stores what some tables have besides their rows. import_states() puts it in place when the tables
 * have their keys.
 */
static void
copy_states_of(PGconn *source, const char *query, const char *kind, const char *function)
{
	PGresult   *tables = peer_exec(source, query);

	for (int i = 0; i < PQntuples(tables); i++)
	{
		const char *name = PQgetvalue(tables, i, 0);
		PGresult   *states = peer_exec(source, psprintf(states_of_table_sql, function,
													  quote_literal_cstr(name)));

		store_states(states, kind, name);
		PQclear(states);
	}
	PQclear(tables);
}

/* Stores the states of all mergeable tables, and of those with contested keys. */
static void
copy_states(PGconn *source)
{
	sql_value(truncate_states_sql, 0, NULL);
	copy_states_of(source, mergeable_query, "state", "export_states");
	copy_states_of(source, contested_query, "parked", "export_parked");
}

/* ---------- copying ---------- */

/* Reads how much the workers have copied of their current tables. */
static void
read_progress(const char *pids, int64 *rows, int64 *bytes)
{
	const char *params[1] = {pids};
	char	   *value = sql_value(copy_progress_sql, 1, params);

	*rows = *bytes = 0;
	if (value)
		sscanf(value, INT64_FORMAT " " INT64_FORMAT, rows, bytes);
}

/* Reports the overall progress, at most every PROGRESS_MS. */
static void
say_progress(const CopyProgress *progress, void *arg)
{
	CopyJob    *job = arg;
	int64		rows;
	int64		bytes;

	if (!moment_is_past(job->said_at, PROGRESS_MS))
		return;
	job->said_at = moment_now();
	read_progress(progress->pids, &rows, &bytes);
	join_progress("copying: table %d of %d, " INT64_FORMAT " rows, " INT64_FORMAT " MB",
				  Min(progress->done + 1, job->ntables), job->ntables, progress->rows + rows,
				  (progress->bytes + bytes) >> 20);
}

void
join_copy_tables(Joining *join)
{
	CopyJob		job = {0};
	PGconn	   *source = join_open_source(join);

	copy_pool_end_old();
	list_tables(&job, join, source);
	if (!join->local->copy_schema && join->local->copy_data)
		empty_tables(&job);
	copy_pool_run(job.tables, job.ntables, number_of_workers(join), say_progress, &job);
	if (join->local->copy_data)
	{
		join_copy_sequences(join, true);
		copy_states(source);
	}
	PQfinish(source);
}
