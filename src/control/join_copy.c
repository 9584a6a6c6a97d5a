/*
 * join_copy.c
 *		The rows of a joining node: COPY from the source's snapshot, several tables at a time.
 *
 * One process drives several pairs of sessions: COPY TO on the source, inside the exported
 * snapshot, and COPY FROM here. The work is done by the backends at both ends; this
 * process hands the data over. Each pair takes the next table when it is through with
 * one.
 *
 * Sessions here run in replica role, under a replication origin of their own
 * ("..._repair", "..._repair1", ...): so the copied rows have the oldest version, are never
 * sent to anybody, and no trigger or foreign key looks at them. Each table is one
 * transaction.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/peer.h"
#include "base/settings.h"
#include "catalog/names.h"
#include "control/join.h"
#include "control/sql.h"

#define PROGRESS_MS		500

typedef struct CopyTable
{
	char	   *schema;
	char	   *name;
	char	   *columns;		/* quoted, comma-separated */
	bool		binary;
	bool		ours;			/* one of the extension's own tables */
	bool		partitioned;
} CopyTable;

typedef struct CopyPair
{
	PGconn	   *source;
	PGconn	   *local;
	CopyTable  *table;			/* NULL: idle */
	int64		bytes;
} CopyPair;

typedef struct CopyJob
{
	int			ntables;
	CopyTable  *tables;
	int			next;			/* table that is taken next */
	int			done;
	int64		bytes;
	int64		rows;
	TimestampTz said_at;
	int			npairs;
	CopyPair   *pairs;
} CopyJob;

/* Tables of the source's snapshot, largest first; our own first of all. */
static const char *const table_query =
"SELECT n.nspname, c.relname,"
" coalesce((SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a"
"  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), ''),"
" NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384),"
" n.nspname = 'replication_plugin', c.relkind = 'p'"
" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
" WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384"
" AND (n.nspname = 'replication_plugin' AND c.relname IN ('node', 'slot_made', 'table_setting')"
"  OR n.nspname <> 'replication_plugin' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
"  AND NOT EXISTS (SELECT FROM replication_plugin.table_setting s"
"   WHERE s.schema_name = n.nspname AND s.table_name = c.relname AND NOT s.replicated)"
"  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))"
" ORDER BY n.nspname = 'replication_plugin' DESC,"
" coalesce((SELECT sum(pg_total_relation_size(i.relid)) FROM pg_partition_tree(c.oid) i), pg_total_relation_size(c.oid)) DESC";

/* Sequences of the snapshot. */
static const char *const sequence_query =
"SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value"
" FROM pg_sequences WHERE last_value IS NOT NULL AND schemaname <> 'replication_plugin'";

/* ---------- sessions ---------- */

/* Opens a session of the source inside the snapshot. */
static PGconn *
open_source(Join *join)
{
	PGconn	   *conn = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin copy");

	PQclear(peer_exec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
	PQclear(peer_exec(conn, psprintf("SET TRANSACTION SNAPSHOT %s", quote_literal_cstr(join->snapshot))));
	return conn;
}

/* Opens a session here, under the repair origin of pair i. */
static PGconn *
open_local(Join *join, int i)
{
	PGconn	   *conn = peer_connect(join->local->dsn, PEER_SQL, "replication_plugin copy");
	char	   *origin = i == 0 ? repair_origin_name(MyDatabaseId) :
	psprintf("%s%d", repair_origin_name(MyDatabaseId), i);

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

/* ---------- the list ---------- */

/* Reads which tables are to be copied. */
static void
list_tables(CopyJob *job, PGconn *source)
{
	PGresult   *res = peer_exec(source, table_query);

	job->ntables = PQntuples(res);
	job->tables = palloc0(Max(job->ntables, 1) * sizeof(CopyTable));
	for (int i = 0; i < job->ntables; i++)
	{
		CopyTable  *t = &job->tables[i];

		t->schema = pstrdup(PQgetvalue(res, i, 0));
		t->name = pstrdup(PQgetvalue(res, i, 1));
		t->columns = pstrdup(PQgetvalue(res, i, 2));
		t->binary = PQgetvalue(res, i, 3)[0] == 't';
		t->ours = PQgetvalue(res, i, 4)[0] == 't';
		t->partitioned = PQgetvalue(res, i, 5)[0] == 't';
	}
	PQclear(res);
}

/* Sets the sequences to where they are on the source, so that new rows do not meet copied ones. */
static void
copy_sequences(PGconn *source, PGconn *local)
{
	PGresult   *res = peer_exec(source, sequence_query);

	for (int i = 0; i < PQntuples(res); i++)
		PQclear(peer_exec(local, psprintf("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s)",
										  quote_literal_cstr(PQgetvalue(res, i, 0)),
										  PQgetvalue(res, i, 1))));
	PQclear(res);
}

/* ---------- copying ---------- */

/* Says how far everything is, not too often. */
static void
say_progress(CopyJob *job, bool now)
{
	if (!now && !TimestampDifferenceExceeds(job->said_at, GetCurrentTimestamp(), PROGRESS_MS))
		return;
	job->said_at = GetCurrentTimestamp();
	join_progress("copying: table %d of %d, " INT64_FORMAT " rows, " INT64_FORMAT " kB",
				  Min(job->done + 1, job->ntables), job->ntables, job->rows, job->bytes / 1024);
}

/* Starts a pair on the next table; leaves it idle if there is none. */
static void
start_table(CopyJob *job, CopyPair *pair)
{
	CopyTable  *t;
	char	   *name;
	const char *format,
			   *only;

	pair->table = NULL;
	if (job->next >= job->ntables)
		return;
	t = &job->tables[job->next++];
	name = psprintf("%s.%s", quote_identifier(t->schema), quote_identifier(t->name));
	only = t->partitioned ? "" : "ONLY ";	/* tables that inherit are copied by themselves */
	format = t->binary ? " WITH (FORMAT binary)" : "";

	/* what an interrupted join, or the admission of an earlier try, has left */
	PQclear(peer_exec(pair->local, "BEGIN"));
	PQclear(peer_exec(pair->local, t->ours ? psprintf("DELETE FROM %s", name) : psprintf("TRUNCATE %s%s", only, name)));
	PQclear(peer_exec(pair->source, psprintf("COPY (SELECT %s FROM %s%s) TO STDOUT%s", t->columns, only, name, format)));
	PQclear(peer_exec(pair->local, t->columns[0] ?
					  psprintf("COPY %s (%s) FROM STDIN%s", name, t->columns, format) :
					  psprintf("COPY %s FROM STDIN%s", name, format)));
	pair->table = t;
	pair->bytes = 0;
}

/* Reads the results that end a COPY; returns the number of rows. */
static int64
finish_command(PGconn *conn)
{
	PGresult   *res;
	int64		rows = 0;

	while ((res = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
		{
			char	   *why = pchomp(PQresultErrorMessage(res));

			PQclear(res);
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("copying failed: %s", why[0] ? why : pchomp(PQerrorMessage(conn)))));
		}
		rows = atoll(PQcmdTuples(res)[0] ? PQcmdTuples(res) : "0");
		PQclear(res);
	}
	return rows;
}

/* Ends a table and takes the next. */
static void
finish_table(CopyJob *job, CopyPair *pair)
{
	(void) finish_command(pair->source);
	if (PQputCopyEnd(pair->local, NULL) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("copying failed: %s", pchomp(PQerrorMessage(pair->local)))));
	job->rows += finish_command(pair->local);
	PQclear(peer_exec(pair->local, "COMMIT"));
	job->done++;
	say_progress(job, false);
	start_table(job, pair);
}

/* Hands over what the source has sent. Returns false if there is nothing to read now. */
static bool
hand_over(CopyJob *job, CopyPair *pair)
{
	char	   *data;
	int			len = PQgetCopyData(pair->source, &data, 1);
	int			put;

	if (len == 0)
		return false;
	if (len < 0)
	{
		finish_table(job, pair);
		return true;
	}
	put = PQputCopyData(pair->local, data, len);
	PQfreemem(data);
	if (put <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("copying table \"%s.%s\" failed: %s", pair->table->schema, pair->table->name,
						pchomp(PQerrorMessage(pair->local)))));
	job->bytes += len;
	return true;
}

/* Waits until one of the sources has sent something. */
static void
wait_for_sources(CopyJob *job)
{
	WaitEventSet *set = CreateWaitEventSet(CurrentMemoryContext, job->npairs + 2);
	WaitEvent	event;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < job->npairs; i++)
	{
		if (job->pairs[i].table)
			AddWaitEventToSet(set, WL_SOCKET_READABLE, PQsocket(job->pairs[i].source), NULL, NULL);
	}
	WaitEventSetWait(set, 1000, &event, 1, PG_WAIT_EXTENSION);
	FreeWaitEventSet(set);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < job->npairs; i++)
	{
		if (job->pairs[i].table && PQconsumeInput(job->pairs[i].source) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("lost the source while copying: %s", pchomp(PQerrorMessage(job->pairs[i].source)))));
	}
}

/* Works until all tables are done. */
static void
run_job(CopyJob *job)
{
	for (int i = 0; i < job->npairs; i++)
		start_table(job, &job->pairs[i]);
	while (job->done < job->ntables)
	{
		bool		moved = false;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < job->npairs; i++)
		{
			int			budget = 1000;

			while (job->pairs[i].table && budget-- > 0 && hand_over(job, &job->pairs[i]))
				moved = true;
		}
		say_progress(job, false);
		if (!moved)
			wait_for_sources(job);
	}
}

void
join_copy_tables(Join *join)
{
	CopyJob		job = {0};

	job.npairs = join->local->copy_data ? setting_copy_workers : 1;
	job.pairs = palloc0(job.npairs * sizeof(CopyPair));
	for (int i = 0; i < job.npairs; i++)
	{
		job.pairs[i].source = open_source(join);
		job.pairs[i].local = open_local(join, i);
	}
	list_tables(&job, job.pairs[0].source);
	if (!join->local->copy_data)
	{
		/* only what makes this node a member */
		int			n = 0;

		while (n < job.ntables && job.tables[n].ours)
			n++;
		job.ntables = n;
	}
	run_job(&job);
	if (join->local->copy_data)
		copy_sequences(job.pairs[0].source, job.pairs[0].local);
	say_progress(&job, true);
	for (int i = 0; i < job.npairs; i++)
	{
		PQfinish(job.pairs[i].source);
		PQfinish(job.pairs[i].local);
	}
}
