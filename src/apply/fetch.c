/*
 * fetch.c
 *		Values that an update did not send and that are not here.
 *
 * PostgreSQL's WAL leaves out TOASTed values that an update did not touch. When the
 * local row is not the one that was updated, they are asked for at the provider, which
 * has accepted the update. It may have a newer state of the row by now; that state
 * reaches us as well, later in its own stream.
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

/* The query for the missing columns; returns how many there are. */
static int
build_query(ApplyRelation *ar, StringInfo sql)
{
	int			n = 0;

	appendStringInfoString(sql, "SELECT ");
	for (int i = 0; i < ar->remote.natts; i++)
	{
		if (is_missing(ar, i))
			appendStringInfo(sql, "%s%s::pg_catalog.text", n++ ? ", " : "",
							 quote_identifier(ar->remote.atts[i].name));
	}
	appendStringInfo(sql, " FROM %s WHERE ",
					 quote_qualified_identifier(ar->remote.nspname, ar->remote.relname));
	for (int k = 0; k < ar->nkeys; k++)
		appendStringInfo(sql, "%s%s = $%d", k ? " AND " : "",
						 quote_identifier(key_name(ar, k)), k + 1);
	return n;
}

/* Text of the key's values. */
static void
key_texts(ApplyRelation *ar, const Datum *key, const char **texts)
{
	for (int k = 0; k < ar->nkeys; k++)
	{
		Oid			out;
		bool		varlena;

		getTypeOutputInfo(TupleDescAttr(RelationGetDescr(ar->rel), ar->key_atts[k] - 1)->atttypid,
						  &out, &varlena);
		texts[k] = OidOutputFunctionCall(out, key[k]);
	}
}

/* Runs the query; connects anew if the kept connection has gone. */
static PGresult *
run_query(const char *sql, int nkeys, const char *const *texts)
{
	if (conn && PQstatus(conn) != CONNECTION_OK)
	{
		PQfinish(conn);
		conn = NULL;
	}
	if (!conn)
		conn = peer_connect(apply.provider_dsn, PEER_SQL, "replication_plugin fetch");
	return peer_exec_params(conn, sql, nkeys, texts);
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
		ar->nulls[att] = PQgetisnull(res, 0, col);
		getTypeInputInfo(a->atttypid, &in, &ioparam);
		if (!ar->nulls[att])
			ar->values[att] = OidInputFunctionCall(in, PQgetvalue(res, 0, col), ioparam, a->atttypmod);
		col++;
	}
	for (int i = 0; i < ar->remote.natts; i++)
		ar->present[ar->local_att[i] - 1] = true;
}

bool
fetch_missing(ApplyRelation *ar, const Datum *key)
{
	StringInfoData sql;
	const char **texts = palloc(Max(ar->nkeys, 1) * sizeof(char *));
	PGresult   *res;
	bool		found;

	initStringInfo(&sql);
	if (build_query(ar, &sql) == 0)
		return true;
	key_texts(ar, key, texts);
	res = run_query(sql.data, ar->nkeys, texts);
	found = PQntuples(res) == 1;
	if (found)
		read_answer(ar, res);
	PQclear(res);
	return found;
}
