/*
 * fetch.c
 *		Fetches values that an update did not send and that this node lacks.
 *
 * PostgreSQL's WAL leaves out TOASTed values that an update did not change. If the local row is not
 * the row that was updated, the values are requested from the provider, which has accepted the
 * update. The provider may have overwritten the values since. It then sends the newer state later
 * in its stream, and this write is passed over (catalog/awaited.h). The provider also may have sent
 * the update before the update is visible to other sessions there; see sqlapi/values_of_write.c.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "apply/context.h"
#include "apply/fetch.h"
#include "base/peer.h"
#include "base/pulse.h"
#include "base/session.h"
#include "base/text_array.h"
#include "catalog/awaited.h"
#include "catalog/nodes.h"

/* time limit of the provider's answer: a session there may have locked the table */
#define ANSWER_MS	30000

static const char values_of_write_sql[] =
	"SELECT until, vals IS NOT NULL, v"
	" FROM replication_plugin.values_of_write($1::pg_catalog.regclass, $2::pg_catalog.text[],"
	"  $3::pg_catalog.text[], $4::pg_catalog.text[], $5::pg_catalog.int8, $6::pg_catalog.int4,"
	" $7::pg_catalog.xid)"
	" LEFT JOIN LATERAL pg_catalog.unnest(vals) WITH ORDINALITY u(v, i) ON true ORDER BY i";

/* A table of which the transaction has passed over writes; in TopTransactionContext. */
typedef struct PassedOver
{
	ApplyRelation *ar;
	char	   *until;			/* what the provider had at that time */
} PassedOver;

/* ---------- writes that are passed over ---------- */

/* Remembers that the current row is passed over. */
static void
fetch_pass_over(ApplyRelation *ar, const char *until)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	PassedOver *p = NULL;
	ListCell   *lc;

	foreach(lc, ar->cx->passed_over)
	{
		if (((PassedOver *) lfirst(lc))->ar == ar)
			p = lfirst(lc);
	}
	if (!p)
	{
		p = palloc(sizeof(PassedOver));
		p->ar = ar;
		ar->cx->passed_over = lappend(ar->cx->passed_over, p);
	}
	p->until = pstrdup(until);	/* the later position covers the earlier one */
	ar->await_known = ar->awaiting = true;
	MemoryContextSwitchTo(old);
}

void
fetch_note_passed_over(ApplyContext *cx)
{
	ListCell   *lc;

	foreach(lc, cx->passed_over)
	{
		PassedOver *p = lfirst(lc);

		awaited_note(p->ar->rel, cx->begin.origin, cx->begin.origin_lsn, p->until);
		cx->wrote = true;
	}
	cx->passed_over = NIL;
}

void
fetch_reset(ApplyContext *cx)
{
	cx->passed_over = NIL;			/* the end of the transaction freed the memory */
}

bool
fetch_needed(ApplyRelation *ar, Missing missing, bool seen)
{
	if (missing == MISSING_NONE)
		return false;
	if (missing == MISSING_FROM_PROVIDER || !seen)
		return true;
	if (!ar->await_known)
		ar->awaiting = awaited_any(ar->rel);
	ar->await_known = true;
	/* the local row may be older than the state that has been seen of it */
	return ar->awaiting;
}

/* ---------- requests ---------- */

/* Returns true if the current row lacks a column of the provider. */
static bool
is_missing(ApplyRelation *ar, int i)
{
	return !ar->present[ar->local_att[i] - 1];
}

/* Sets the names of the key's columns and their values, both in the text form of text[]. */
static void
key_params(ApplyRelation *ar, const Datum *key, const char **params)
{
	const char *names[INDEX_MAX_KEYS];
	const char *values[INDEX_MAX_KEYS];
	int			nest = session_pin_text(true);

	for (int k = 0; k < ar->nkeys; k++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(ar->rel), ar->key_atts[k] - 1);
		Oid			out;
		bool		varlena;

		getTypeOutputInfo(a->atttypid, &out, &varlena);
		names[k] = NameStr(a->attname);
		values[k] = OidOutputFunctionCall(out, key[k]);
	}
	session_unpin(nest);
	params[0] = text_array(names, ar->nkeys);
	params[1] = text_array(values, ar->nkeys);
}

/*
 * Returns the names of the missing columns in the text form of text[], or NULL if none is missing.
 */
static char *
missing_param(ApplyRelation *ar)
{
	const char **names = palloc(Max(ar->remote.natts, 1) * sizeof(char *));
	int			n = 0;

	for (int i = 0; i < ar->remote.natts; i++)
	{
		if (is_missing(ar, i))
			names[n++] = ar->remote.atts[i].name;
	}
	return n > 0 ? text_array(names, n) : NULL;
}

void
fetch_disconnect(ApplyContext *cx)
{
	if (cx->conn)
		PQfinish(cx->conn);
	cx->conn = NULL;
}

/* Returns the dsn of the node that is asked. */
static const char *
provider_dsn(const ApplyContext *cx)
{
	NodeRow    *n;

	if (cx->provider_dsn)
		return cx->provider_dsn;
	n = nodes_by_id(cx->provider);
	if (!n || strcmp(n->state, "removed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("values that an update did not send cannot be asked for: node %d, which sent it, is no member any more", cx->provider),
				 errhint("SELECT replication_plugin.resend_table() of the table, on a node that has its rows, gives them to all others.")));
	return n->dsn;
}

/*
 * Runs the query. Connects anew if the connection is lost, or if an error has left it in the middle
 * of a command.
 */
static PGresult *
run_query(ApplyContext *cx, const char *const *params)
{
	if (cx->conn && (cx->conn_to != cx->provider || PQstatus(cx->conn) != CONNECTION_OK ||
					 PQtransactionStatus(cx->conn) != PQTRANS_IDLE))
		fetch_disconnect(cx);
	if (!cx->conn)
	{
		cx->conn = peer_connect(provider_dsn(cx), PEER_SQL, "replication_plugin fetch");
		cx->conn_to = cx->provider;
		peer_keep(cx->conn);
	}
	return peer_exec_within(cx->conn, values_of_write_sql, 7, params, ANSWER_MS);
}

/*
 * Raises an error if the answer is malformed. It must have one row for each value, or a single row
 * if there are no values.
 */
static void
check_answer(ApplyRelation *ar, PGresult *res)
{
	int			n = 0;

	for (int i = 0; i < ar->remote.natts; i++)
		n += is_missing(ar, i) ? 1 : 0;
	if (PQnfields(res) != 3 || PQntuples(res) < 1 || PQgetisnull(res, 0, 0) ||
		PQgetisnull(res, 0, 1) || (PQgetvalue(res, 0, 1)[0] == 't' && PQntuples(res) != n))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the provider's answer about a row of table \"%s\" has not as many values as were asked for",
						RelationGetRelationName(ar->rel))));
}

/* Stores the values of the answer, which has one row for each. */
static void
read_answer(ApplyRelation *ar, PGresult *res)
{
	int			row = 0;

	for (int i = 0; i < ar->remote.natts; i++)
	{
		int			att = ar->local_att[i] - 1;
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(ar->rel), att);
		Oid			in,
					ioparam;

		if (!is_missing(ar, i))
			continue;
		ar->nulls[att] = PQgetisnull(res, row, 2);
		getTypeInputInfo(a->atttypid, &in, &ioparam);
		Assert(session_in_row());
		if (!ar->nulls[att])
			ar->values[att] =
				OidInputFunctionCall(in, PQgetvalue(res, row, 2), ioparam, a->atttypmod);
		row++;
	}
	for (int i = 0; i < ar->remote.natts; i++)
		ar->present[ar->local_att[i] - 1] = true;
}

bool
fetch_missing(ApplyRelation *ar, const Datum *key)
{
	const char *params[7];
	PGresult   *res;
	bool		found;

	Assert(session_in_row() && ar->cx->active && ar->nkeys > 0);
	params[3] = missing_param(ar);
	if (!params[3])
		return true;
	params[0] = quote_qualified_identifier(ar->remote.nspname, ar->remote.relname);
	key_params(ar, key, &params[1]);
	params[4] = psprintf(INT64_FORMAT, ar->cx->version.ts);
	params[5] = psprintf("%d", ar->cx->version.node);
	params[6] = psprintf("%u", ar->cx->begin.xid);
	pulse_pause();				/* waiting for the provider does not count as time of the row */
	res = run_query(ar->cx, params);
	pulse_begin();
	check_answer(ar, res);
	found = PQgetvalue(res, 0, 1)[0] == 't';
	if (found)
		read_answer(ar, res);
	else
		fetch_pass_over(ar, PQgetvalue(res, 0, 0));
	PQclear(res);
	return found;
}
