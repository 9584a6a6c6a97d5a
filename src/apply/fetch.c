/*
 * fetch.c
 *		Values that an update did not send and that are not here.
 *
 * PostgreSQL's WAL leaves out TOASTed values that an update did not touch. When the
 * local row is not the one that was updated, they are asked for at the provider, which
 * has accepted the update. It may have a newer state of the row by now; that state
 * reaches us as well, later in its own stream. And it may not show the update to others yet, though it has
 * sent it: an older row must not be taken for it, nor none at all; see sqlapi/committed_values.c.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "apply/fetch.h"
#include "apply/state.h"
#include "base/peer.h"

static PGconn *conn = NULL;		/* kept for the next time; closed with the process */

/* True if a column of the provider was left out of the row at hand. */
static bool
is_missing(ApplyRelation *ar, int i)
{
	return !ar->present[ar->local_att[i] - 1];
}

/* Name of a key column. */
static char *
key_name(ApplyRelation *ar, int k)
{
	return NameStr(TupleDescAttr(RelationGetDescr(ar->rel), ar->key_atts[k] - 1)->attname);
}

/* What is asked for: the missing columns. Returns how many there are. */
static int
append_columns(ApplyRelation *ar, StringInfo sql)
{
	int			n = 0;

	appendStringInfoString(sql, "SELECT ");
	for (int i = 0; i < ar->remote.natts; i++)
	{
		if (is_missing(ar, i))
			appendStringInfo(sql, "%s%s::pg_catalog.text", n++ ? ", " : "",
							 quote_identifier(ar->remote.atts[i].name));
	}
	return n;
}

/* Of which row. */
static void
append_condition(ApplyRelation *ar, const Datum *key, StringInfo sql)
{
	for (int k = 0; k < ar->nkeys; k++)
	{
		Oid			out;
		bool		varlena;

		getTypeOutputInfo(TupleDescAttr(RelationGetDescr(ar->rel), ar->key_atts[k] - 1)->atttypid,
						  &out, &varlena);
		appendStringInfo(sql, "%s%s = %s", k ? " AND " : " WHERE ", quote_identifier(key_name(ar, k)),
						 quote_literal_cstr(OidOutputFunctionCall(out, key[k])));
	}
}

/* The query for the missing columns of the row with a key, shown or parked; returns how many there are. */
static int
build_query(ApplyRelation *ar, const Datum *key, StringInfo sql)
{
	const char *table = quote_qualified_identifier(ar->remote.nspname, ar->remote.relname);
	int			n = append_columns(ar, sql);

	appendStringInfo(sql, " FROM %s", table);
	append_condition(ar, key, sql);
	if (!ar->contested)
		return n;
	appendStringInfoString(sql, " UNION ALL ");
	(void) append_columns(ar, sql);
	appendStringInfo(sql, " FROM replication_plugin.parked_of(NULL::%s)", table);
	append_condition(ar, key, sql);
	return n;
}

/* Runs the query, which gives one row for each column; connects anew if the kept connection has gone. */
static PGresult *
run_query(const char *sql)
{
	if (conn && PQstatus(conn) != CONNECTION_OK)
	{
		PQfinish(conn);
		conn = NULL;
	}
	if (!conn)
		conn = peer_connect(apply.provider_dsn, PEER_SQL, "replication_plugin fetch");
	return peer_exec_params(conn, "SELECT v FROM pg_catalog.unnest(replication_plugin.committed_values($1)) WITH ORDINALITY u(v, i) ORDER BY i",
							1, &sql);
}

/* Takes the values out of the answer. */
static void
read_answer(ApplyRelation *ar, PGresult *res)
{
	int			col = 0;

	for (int i = 0; i < ar->remote.natts; i++)
	{
		int			att = ar->local_att[i] - 1;
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(ar->rel), att);
		Oid			in,
					ioparam;

		if (!is_missing(ar, i))
			continue;
		ar->nulls[att] = PQgetisnull(res, col, 0);
		getTypeInputInfo(a->atttypid, &in, &ioparam);
		if (!ar->nulls[att])
			ar->values[att] = OidInputFunctionCall(in, PQgetvalue(res, col, 0), ioparam, a->atttypmod);
		col++;
	}
	for (int i = 0; i < ar->remote.natts; i++)
		ar->present[ar->local_att[i] - 1] = true;
}

bool
fetch_missing(ApplyRelation *ar, const Datum *key)
{
	StringInfoData sql;
	PGresult   *res;
	bool		found;

	initStringInfo(&sql);
	if (build_query(ar, key, &sql) == 0)
		return true;
	res = run_query(sql.data);
	found = PQntuples(res) > 0;
	if (found)
		read_answer(ar, res);
	PQclear(res);
	return found;
}
