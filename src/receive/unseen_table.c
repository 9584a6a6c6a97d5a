/*
 * unseen_table.c
 *		Finds tables of a member that exist already but are not visible yet.
 *
 * The provider can send rows of a table before other sessions see the table: decoding reads the
 * commit record, and the transaction counts as ended only after that. With a synchronous standby
 * that is slow or down, that can be long after. A session that looks for the table in between does
 * not find it, and must not take it for gone.
 *
 * Claim: let a session (1) read which relations are locked and (2) find all of them visible. Then a
 * session that looks (3) after that for a table whose rows have been sent, and that was not
 * dropped, finds it. Proof: the transaction that creates a table keeps a lock on it until others
 * see the table. If the table was locked at (1), it was visible at (2), and so it is at (3). If it
 * was not locked, its creator had released the lock, so it was visible before (1) was answered.
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
