/*
 * identity.c
 *		Checks whether a dsn leads to this very database.
 *
 * A physical copy of a server has the same system identifier and the same catalog. It does not have
 * the random token that each run of a server makes for itself.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/peer.h"
#include "control/join/identity.h"
#include "shared/manager_status.h"

static const char instance_token_sql[] = "SELECT replication_plugin.instance_token()";
static const char database_of_session_sql[] =
	"SELECT (SELECT oid FROM pg_database WHERE datname = current_database()),"
	" EXISTS (SELECT FROM pg_extension WHERE extname = 'replication_plugin')";

/* Returns the token of a session's server, or NULL if the extension is not preloaded there. */
static char *
token_of(PGconn *conn)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile token = NULL;

	PG_TRY();
	{
		PGresult   *res = peer_exec(conn, instance_token_sql);

		token = pstrdup(PQgetvalue(res, 0, 0));
		PQclear(res);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return token;
}

IdentityCheck
identity_check(const char *dsn)
{
	PGconn	   *conn = peer_connect(dsn, PEER_SQL, "replication_plugin identity check");
	PGresult   *res;
	char	   *token = psprintf(INT64_FORMAT, (int64) instance_token());
	char	   *database = psprintf("%u", MyDatabaseId);
	volatile	IdentityCheck result = IDENTITY_SAME;

	PG_TRY();
	{
		/* on another server the extension may be missing, or not be preloaded */
		res = peer_exec(conn, database_of_session_sql);
		if (strcmp(PQgetvalue(res, 0, 1), "t") != 0)
			result = IDENTITY_NO_EXTENSION;
		else if (strcmp(PQgetvalue(res, 0, 0), database) != 0)
			result = IDENTITY_OTHER_DATABASE;
		PQclear(res);
		if (result != IDENTITY_NO_EXTENSION)
		{
			char	   *there = token_of(conn);

			if (!there)
				result = IDENTITY_NO_EXTENSION;
			else if (strcmp(there, token) != 0)
				result = IDENTITY_OTHER_SERVER;
		}
	}
	PG_FINALLY();
	{
		PQfinish(conn);
	}
	PG_END_TRY();
	return result;
}
