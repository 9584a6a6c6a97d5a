/*
 * unseen_table.c
 *		Tables of a member that are there already, and that nobody sees yet.
 *
 * Rows of a table can be sent before others see that it was made: both are decoded when the record
 * of the commit is, and only after that the transaction counts as ended; with a synchronous standby
 * that is slow, or down, long after that. Who asks for the table in between does not find it, and
 * must not take it for gone.
 *
 * Claim: if (1) all that is locked, as asked first, (2) can be seen when that is asked next, then a
 * table whose rows have been sent, and that was not dropped, (3) is found by who looks for it after
 * that. Who makes a table has a lock of it until others see it. If the table was locked at (1), it
 * can be seen at (2), and so at (3); if it was not, its maker had given the lock back, and it could
 * be seen before (1) was answered.
 */
#include "postgres.h"

#include "base/peer.h"
#include "receive/unseen_table.h"

#define ANSWER_MS	10000		/* that an answer may take */

#define LOCKED	"SELECT coalesce(pg_catalog.array_agg(l.relation), '{}') FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database" \
	" WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock' AND d.datname = pg_catalog.current_database()"
#define UNSEEN	"SELECT 1 FROM pg_catalog.unnest($1::pg_catalog.oid[]) o WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o) LIMIT 1"

bool
unseen_tables(PGconn *conn)
{
	PGresult   *res = peer_exec_within(conn, LOCKED, 0, NULL, ANSWER_MS);
	const char *locked = pstrdup(PQgetvalue(res, 0, 0));
	bool		result;

	PQclear(res);
	res = peer_exec_within(conn, UNSEEN, 1, &locked, ANSWER_MS);
	result = PQntuples(res) > 0;
	PQclear(res);
	return result;
}
