/*
 * instance.c
 *		SQL functions about this server and its connections to others.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

#include "base/compat.h"
#include "base/dsn.h"
#include "base/peer.h"
#include "base/session.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/join/identity.h"
#include "control/workers/apart.h"
#include "shared/manager_status.h"
#include "shared/requirement.h"
#include "wire/value.h"

static const char identity_sql[] =
	"SELECT replication_plugin.instance_token() || ' ' || oid"
	" FROM pg_database WHERE datname = current_database()";

PG_FUNCTION_INFO_V1(replication_plugin_instance_token);
PG_FUNCTION_INFO_V1(replication_plugin_value_layout);
PG_FUNCTION_INFO_V1(replication_plugin_dsn_without_password);
PG_FUNCTION_INFO_V1(replication_plugin_hide_secrets);
PG_FUNCTION_INFO_V1(replication_plugin_check_own_dsn);
PG_FUNCTION_INFO_V1(replication_plugin_remote_query);
PG_FUNCTION_INFO_V1(replication_plugin_loopback);
PG_FUNCTION_INFO_V1(replication_plugin_run_apart);
PG_FUNCTION_INFO_V1(replication_plugin_last_commit_lsn);
PG_FUNCTION_INFO_V1(replication_plugin_run_start);
PG_FUNCTION_INFO_V1(replication_plugin_require_no_transaction);
PG_FUNCTION_INFO_V1(replication_plugin_unmet_requirement);

/* instance_token() → bigint */
Datum
replication_plugin_instance_token(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) instance_token());
}

/* value_layout() → text */
Datum
replication_plugin_value_layout(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(value_layout()));
}

/* dsn_without_password(text) → text */
Datum
replication_plugin_dsn_without_password(PG_FUNCTION_ARGS)
{
	char	   *dsn = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text(dsn_without_secrets(dsn)));
}

/* hide_secrets(local boolean) → void */
Datum
replication_plugin_hide_secrets(PG_FUNCTION_ARGS)
{
	session_hide(PG_GETARG_BOOL(0));
	PG_RETURN_VOID();
}

/* check_own_dsn(text) → void: raises an error unless the dsn leads to this database */
Datum
replication_plugin_check_own_dsn(PG_FUNCTION_ARGS)
{
	char	   *dsn = text_to_cstring(PG_GETARG_TEXT_PP(0));

	switch (identity_check(dsn))
	{
		case IDENTITY_SAME:
			break;
		case IDENTITY_OTHER_SERVER:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the dsn \"%s\" leads to another server", dsn_without_secrets(dsn)),
					 errhint("Give the dsn by which other nodes reach this database.")));
			break;
		case IDENTITY_OTHER_DATABASE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the dsn \"%s\" leads to another database of this server", dsn_without_secrets(dsn)),
					 errhint("Give the dsn by which other nodes reach this database.")));
			break;
		case IDENTITY_NO_EXTENSION:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the dsn \"%s\" leads to another database, without the extension replication_plugin",
							dsn_without_secrets(dsn)),
					 errhint("Give the dsn by which other nodes reach this database.")));
			break;
	}
	PG_RETURN_VOID();
}

/* Returns one row of a result as text[]. */
static Datum
row_to_array(PGresult *res, int row)
{
	int			n = PQnfields(res);
	Datum	   *values = palloc(Max(n, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(n, 1) * sizeof(bool));
	int			dims[1] = {n};
	int			lbs[1] = {1};

	for (int i = 0; i < n; i++)
	{
		nulls[i] = PQgetisnull(res, row, i);
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(PQgetvalue(res, row, i));
	}
	return PointerGetDatum(
		construct_md_array(values, nulls, 1, dims, lbs, TEXTOID, -1, false, TYPALIGN_INT));
}

/* remote_query(dsn text, sql text, before text) → setof text[] */
Datum
replication_plugin_remote_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PGconn	   *conn = peer_connect(text_to_cstring(PG_GETARG_TEXT_PP(0)), PEER_SQL,
									"replication_plugin query");
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *before = text_to_cstring(PG_GETARG_TEXT_PP(2));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	PG_TRY();
	{
		PGresult   *res;

		if (before[0])
			PQclear(peer_exec(conn, before));
		res = peer_exec(conn, sql);

		for (int i = 0; i < PQntuples(res); i++)
		{
			Datum		value = row_to_array(res, i);
			bool		isnull = false;

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
		}
		PQclear(res);
	}
	PG_FINALLY();
	{
		PQfinish(conn);
	}
	PG_END_TRY();
	PG_RETURN_NULL();
}

/* Raises an error unless a session that was opened by this node's dsn is in this very database. */
static void
require_here(PGconn *conn)
{
	char	   *here = psprintf(INT64_FORMAT " %u", (int64) instance_token(), MyDatabaseId);
	PGresult   *res = peer_exec(conn, identity_sql);

	if (PQntuples(res) != 1 || strcmp(PQgetvalue(res, 0, 0), here) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the dsn of this node leads to another server"),
				 errdetail("This server is a copy, or the dsn is outdated."),
				 errhint("SELECT replication_plugin.forget_group() takes a copy out of the group, and tells nobody.")));
	PQclear(res);
}

/*
 * loopback(sql text) → void
 *
 * Runs a statement in a transaction of its own if this node's dsn leads to this database. Does not
 * run an empty statement.
 */
Datum
replication_plugin_loopback(PG_FUNCTION_ARGS)
{
	LocalNode  *local = nodes_local();
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	PGconn	   *conn;

	if (!local)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is in no group")));
	conn = peer_connect(local->dsn, PEER_SQL, "replication_plugin loopback");
	PG_TRY();
	{
		require_here(conn);
	}
	PG_FINALLY();
	{
		PQfinish(conn);
	}
	PG_END_TRY();
	/* with the rights of a worker, since the role of the dsn need not have them */
	if (sql[0])
		run_apart(sql);
	PG_RETURN_VOID();
}

/* run_apart(sql text) → void: runs a statement in a transaction of its own */
Datum
replication_plugin_run_apart(PG_FUNCTION_ARGS)
{
	run_apart(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* last_commit_lsn() → pg_lsn: end of this session's last commit */
Datum
replication_plugin_last_commit_lsn(PG_FUNCTION_ARGS)
{
	if (XactLastCommitEnd == InvalidXLogRecPtr)
		PG_RETURN_NULL();
	PG_RETURN_LSN(XactLastCommitEnd);
}

/* run_start() → pg_lsn */
Datum
replication_plugin_run_start(PG_FUNCTION_ARGS)
{
	XLogRecPtr	lsn = manager_status_run_start();

	if (lsn == InvalidXLogRecPtr)
		PG_RETURN_NULL();
	PG_RETURN_LSN(lsn);
}

/* require_no_transaction(what text) → void */
Datum
replication_plugin_require_no_transaction(PG_FUNCTION_ARGS)
{
	PreventInTransactionBlock(true, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* unmet_requirement(OUT problem text, OUT fix text): nulls if all requirements are met */
Datum
replication_plugin_unmet_requirement(PG_FUNCTION_ARGS)
{
	const Unmet *u = requirement_unmet();
	TupleDesc	desc;
	Datum		values[2] = {0, 0};
	bool		nulls[2] = {u == NULL, u == NULL};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (u)
	{
		values[0] = CStringGetTextDatum(u->problem);
		values[1] = CStringGetTextDatum(u->fix);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
