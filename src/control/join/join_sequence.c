/*
 * join_sequence.c
 *		Sets the sequences of a joining node to their state on the source.
 *
 * Sequences are not replicated. A new member sets them when it copies the rows, and once more
 * before it becomes ready, so that its new rows do not meet those that were written while it
 * joined. A sequence that has been used on this node by then is not set back.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/peer.h"
#include "control/join/join.h"
#include "control/workers/sql.h"

/* Query to the source: arrays of the names, values and is_called of its sequences. */
static const char *const sequences_query =
"SELECT array_agg(s.sequence_name), array_agg(s.last_value), array_agg(s.is_called) FROM replication_plugin.sequence_states() s HAVING count(*) > 0";

/*
 * Sets sequences from such arrays. If $4 is false, sets only those that are further on the source,
 * or that were not used on this node.
 */
static const char *const set_statement =
"SELECT count(setval(s.seqrelid, t.v, t.c))"
" FROM unnest($1::text[], $2::bigint[], $3::boolean[]) t (n, v, c) JOIN pg_sequence s ON s.seqrelid = to_regclass(t.n)"
" WHERE t.v BETWEEN s.seqmin AND s.seqmax"
"  AND ($4::boolean OR pg_sequence_last_value(s.seqrelid) IS NULL OR sign(t.v - pg_sequence_last_value(s.seqrelid)) = sign(s.seqincrement))";

/* Query for the sequences that cannot be set because they have other bounds on this node. */
static const char *const out_of_bounds_query =
"SELECT string_agg(t.n, ', ') FROM unnest($1::text[], $2::bigint[]) t (n, v) JOIN pg_sequence s ON s.seqrelid = to_regclass(t.n)"
" WHERE t.v NOT BETWEEN s.seqmin AND s.seqmax";

/* Sets the sequences of a result. */
static void
set_sequences(PGresult *res, bool first)
{
	const char *params[4] = {PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1), PQgetvalue(res, 0, 2),
							 first ? "true" : "false"};
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
	PGresult   *res = peer_exec(source, sequences_query);

	if (PQntuples(res) > 0)
		set_sequences(res, first);
	PQclear(res);
	PQfinish(source);
}
