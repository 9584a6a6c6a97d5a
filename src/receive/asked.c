/*
 * asked.c
 *		Sessions in which a link asks members about tables.
 *
 * Rows of very many tables that do not exist on this node may come one after the other, and the
 * link asks about each table. Therefore a session stays open for a short time.
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "base/moment.h"
#include "base/peer.h"
#include "receive/asked.h"

#define REST_MS		2000		/* unused time after which a session is closed */

/* An open session; in TopMemoryContext, as the list is. */
typedef struct Asked
{
	char	   *dsn;
	PGconn	   *conn;
	Moment		used;
} Asked;

/* Returns the open session to a dsn; NULL if there is none. */
static Asked *
asked_find(List **sessions, const char *dsn)
{
	ListCell   *lc;

	foreach(lc, *sessions)
	{
		if (strcmp(((Asked *) lfirst(lc))->dsn, dsn) == 0)
			return lfirst(lc);
	}
	return NULL;
}

/* Closes a session and removes it from the list. */
static void
end_session(List **sessions, Asked *a)
{
	*sessions = list_delete_ptr(*sessions, a);
	PQfinish(a->conn);
	pfree(a->dsn);
	pfree(a);
}

void
asked_give_up(List **sessions, const char *dsn)
{
	Asked	   *a = asked_find(sessions, dsn);

	if (a)
		end_session(sessions, a);
}

PGconn *
asked_connect(List **sessions, const char *dsn)
{
	Asked	   *a = asked_find(sessions, dsn);
	PGconn	   *conn;
	MemoryContext old;

	/* the server may have ended the session */
	if (a && (PQconsumeInput(a->conn) == 0 || PQstatus(a->conn) != CONNECTION_OK))
	{
		end_session(sessions, a);
		a = NULL;
	}
	if (!a)
	{
		conn = peer_connect(dsn, PEER_SQL, "replication_plugin table");
		peer_keep(conn);
		old = MemoryContextSwitchTo(TopMemoryContext);
		a = palloc(sizeof(Asked));
		a->dsn = pstrdup(dsn);
		a->conn = conn;
		*sessions = lappend(*sessions, a);
		MemoryContextSwitchTo(old);
	}
	a->used = moment_now();
	return a->conn;
}

void
asked_rest(List **sessions)
{
	ListCell   *lc;

	foreach(lc, *sessions)
	{
		Asked	   *a = lfirst(lc);

		if (moment_is_past(a->used, REST_MS))
		{
			end_session(sessions, a);
			return;				/* the others follow with later calls */
		}
	}
}
