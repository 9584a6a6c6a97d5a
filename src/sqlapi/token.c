/*
 * token.c
 *		SQL functions about tokens: what this session has committed, and whether this node has what
 *		a token stands for.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "capture/own_commit.h"
#include "shared/coverage.h"
#include "sqlapi/argument.h"

PG_FUNCTION_INFO_V1(replication_plugin_write_token);
PG_FUNCTION_INFO_V1(replication_plugin_covers);
PG_FUNCTION_INFO_V1(replication_plugin_wait_for);

/* write_token() → text: null if the session has committed nothing that other nodes get */
Datum
replication_plugin_write_token(PG_FUNCTION_ARGS)
{
	char		text[TOKEN_TEXT_SIZE];

	if (!own_commit_token(text))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(text));
}

/* covers(token text) → boolean: looks, and does not wait */
Datum
replication_plugin_covers(PG_FUNCTION_ARGS)
{
	Token		token;
	CoverageNode me;

	coverage_require_token(text_to_cstring(PG_GETARG_TEXT_PP(0)), &token);
	me = coverage_of_node();
	PG_RETURN_BOOL(coverage_has(&me, &token));
}

/*
 * wait_for(token text, timeout interval) → boolean
 *
 * Returns false after the timeout. The statement that calls it has a snapshot. Where the transaction
 * keeps that for all its statements, waiting would be of no use.
 */
Datum
replication_plugin_wait_for(PG_FUNCTION_ARGS)
{
	Moment		deadline = argument_deadline(PG_GETARG_INTERVAL_P(1));
	Token		token;
	CoverageNode me;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("wait_for() is of no use under REPEATABLE READ and SERIALIZABLE: this statement has taken the snapshot of the transaction"),
				 errhint("Let the transaction begin with SET LOCAL replication_plugin.after = '...'.")));
	coverage_require_token(text_to_cstring(PG_GETARG_TEXT_PP(0)), &token);
	me = coverage_of_node();
	PG_RETURN_BOOL(coverage_wait(&me, &token, deadline));
}
