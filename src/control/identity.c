/*
 * identity.c
 *		Does a dsn lead to this very database?
 *
 * A physical copy of a server has the same system identifier and the same catalog. What
 * it does not have is the random token that each run of a server makes for itself.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/peer.h"
#include "catalog/manager_status.h"
#include "control/identity.h"

IdentityCheck
identity_check(const char *dsn)
{
	PGconn	   *conn = peer_connect(dsn, PEER_SQL, "replication_plugin identity check");
	PGresult   *res;
	char	   *token = psprintf(INT64_FORMAT, (int64) instance_token());
	char	   *database = psprintf("%u", MyDatabaseId);
	IdentityCheck result = IDENTITY_SAME;

	PG_TRY();
	{
		/* elsewhere the extension may be missing, or not be preloaded */
		res = peer_exec(conn, "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()),"
						" EXISTS (SELECT FROM pg_extension WHERE extname = 'replication_plugin')"
						" AND current_setting('shared_preload_libraries') ~ 'replication_plugin'");
		if (strcmp(PQgetvalue(res, 0, 1), "t") != 0)
			result = IDENTITY_NO_EXTENSION;
		else if (strcmp(PQgetvalue(res, 0, 0), database) != 0)
			result = IDENTITY_OTHER_DATABASE;
		PQclear(res);
		if (result != IDENTITY_NO_EXTENSION)
		{
			res = peer_exec(conn, "SELECT replication_plugin.instance_token()");
			if (strcmp(PQgetvalue(res, 0, 0), token) != 0)
				result = IDENTITY_OTHER_SERVER;
			PQclear(res);
		}
	}
	PG_FINALLY();
	{
		PQfinish(conn);
	}
	PG_END_TRY();
	return result;
}
