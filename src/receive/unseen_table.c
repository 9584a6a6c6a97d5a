/*
 * unseen_table.c
 *		Tables of a member that are there already, and that nobody sees yet.
 *
 * Rows of a table can be sent before others see that it was made: both are decoded when the record of the commit is, and only after that the transaction counts as
 * ended; with a synchronous standby that is slow, or down, long after that. Who asks for the table in between does not find it, and must not take it for gone.
 *
 * Claim: when no table that is locked is invisible, who does not find a table looks for one that is not there, and not for one whose rows have been sent. Who makes a
 * table has a lock of it until others see it. So whoever asks what is locked first, and then looks, finds one of the two.
 */
#include "postgres.h"

#include "base/peer.h"
#include "receive/unseen_table.h"

#define LOCKED	"SELECT coalesce(pg_catalog.array_agg(l.relation), '{}') FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database" \
	" WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock' AND d.datname = pg_catalog.current_database()"
#define UNSEEN	"SELECT 1 FROM pg_catalog.unnest($1::pg_catalog.oid[]) o WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o) LIMIT 1"

char *
unseen_table_locked(PGconn *conn)
{
	PGresult   *res = peer_exec(conn, LOCKED);
	char	   *locked = pstrdup(PQgetvalue(res, 0, 0));

	PQclear(res);
	return locked;
}

bool
unseen_table_is_there(PGconn *conn, const char *locked)
{
	PGresult   *res = peer_exec_params(conn, UNSEEN, 1, &locked);
	bool		result = PQntuples(res) > 0;

	PQclear(res);
	return result;
}
