/*
 * join_sequence.c
 *		The sequences of a joining node: they go on from where they are on the source.
 *
 * Sequences are not replicated. A new member takes over how far they are with the rows, and once more before it becomes ready,
 * so that its new rows do not meet those that were written while it joined. A sequence that was used here by then is not set back.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/peer.h"
#include "control/join.h"
#include "control/sql.h"

/* Statements that read the sequences of the source, some at a time: name, value, whether that was given out, as arrays. */
static const char *const statements_query =
"SELECT 'SELECT array_agg(n), array_agg(v), array_agg(c) FROM (' ||"
"  string_agg(format('SELECT %L AS n, last_value AS v, is_called AS c FROM %I.%I', format('%I.%I', s.nspname, s.relname), s.nspname, s.relname),"
"   ' UNION ALL ') || ') s'"
" FROM (SELECT n.nspname, c.relname, row_number() OVER () / 200 AS part FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
"  WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'replication_plugin' AND n.nspname !~ '^pg_') s"
" GROUP BY s.part";

/* Sets sequences of such arrays; with $4 = false only those that are further there, or were not used here. */
static const char *const set_statement =
"SELECT count(setval(s.seqrelid, t.v, t.c))"
" FROM unnest($1::text[], $2::bigint[], $3::boolean[]) t (n, v, c) JOIN pg_sequence s ON s.seqrelid = to_regclass(t.n)"
" WHERE t.v BETWEEN s.seqmin AND s.seqmax"
"  AND ($4::boolean OR pg_sequence_last_value(s.seqrelid) IS NULL OR sign(t.v - pg_sequence_last_value(s.seqrelid)) = sign(s.seqincrement))";

/* Those that cannot be set, as they have other bounds here. */
static const char *const out_of_bounds_query =
"SELECT string_agg(t.n, ', ') FROM unnest($1::text[], $2::bigint[]) t (n, v) JOIN pg_sequence s ON s.seqrelid = to_regclass(t.n)"
" WHERE t.v NOT BETWEEN s.seqmin AND s.seqmax";

/* Sets the sequences of one result here. */
static void
set_sequences(PGresult *res, bool first)
{
	const char *params[4] = {PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1), PQgetvalue(res, 0, 2), first ? "true" : "false"};
	char	   *left;

	(void) sql_value(set_statement, 4, params);
	left = first ? sql_value(out_of_bounds_query, 2, params) : NULL;
	if (left)
		ereport(WARNING,
				(errmsg("sequences stay as they are, as they have other bounds than on the source: %s", left)));
}

void
join_copy_sequences(Joining *join, bool first)
{
	PGconn	   *source = peer_connect(join->local->source_dsn, PEER_SQL, "replication_plugin join");
	PGresult   *statements = peer_exec(source, statements_query);

	for (int i = 0; i < PQntuples(statements); i++)
	{
		PGresult   *res = peer_exec(source, PQgetvalue(statements, i, 0));

		set_sequences(res, first);
		PQclear(res);
	}
	PQclear(statements);
	PQfinish(source);
}
