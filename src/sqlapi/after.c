/*
 * after.c
 *		The setting replication_plugin.after: a token for which the session waits when it is set.
 *
 * Invariant: the statement that follows SET sees all that the token stands for, under each isolation
 * level. SET takes no snapshot, and the wait takes none either, so the first one of the transaction
 * comes after it. Where a transaction has taken the snapshot that it keeps, SET is refused.
 *
 * The wait is in the check hook, which set_config() and SET have in common. The assign hook would be
 * called for a rollback as well. A token that the client gives with its connection (options) is
 * waited for when the settings are reported to the client, before it can send a statement: by then
 * the session is shown in pg_stat_activity and can be cancelled. A token of the configuration file, of
 * a role or of a database is not waited for: nobody asks for it now.
 */
#include "postgres.h"

#include <limits.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/own_worker.h"
#include "capture/own_commit.h"
#include "shared/coverage.h"
#include "sqlapi/after.h"

static char *setting_after = NULL;
static int	setting_after_timeout = 10000;

/* Of the connection's options, until it is waited for. */
static struct
{
	bool		given;
	CoverageNode me;
	Token		token;
}			awaited;

/* Waits until this node has what a token stands for. Raises an error after the timeout. */
static void
after_wait(const CoverageNode *me, const Token *token)
{
	char	   *missing;

	if (coverage_wait(me, token, moment_after(setting_after_timeout)))
		return;
	missing = coverage_missing(me, token);
	ereport(ERROR,
			(errcode(ERRCODE_TOKEN_NOT_COVERED),
			 errmsg("this node does not have what the token stands for after %d ms", setting_after_timeout),
			 missing[0] ? errdetail("%s.", missing) : 0,
			 errhint("See replication_plugin.links, and the setting replication_plugin.after_timeout.")));
}

/* Raises an error if the transaction has taken the snapshot that it keeps. */
static void
refuse_late(void)
{
	if (FirstSnapshotSet && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("replication_plugin.after must be set before the first statement of a transaction under REPEATABLE READ and SERIALIZABLE"),
				 errdetail("The transaction has taken its snapshot, which waiting does not change."),
				 errhint("Let SET be the first statement: set_config(), DO and CALL take a snapshot themselves.")));
}

/*
 * Returns true if somebody sets the setting in a session now. A value of the configuration file, of a
 * role or of a database is not even read: it could end the postmaster, or keep a role from its
 * database.
 */
static bool
is_set_now(GucSource source)
{
	return IsUnderPostmaster && !is_own_worker() && !IsParallelWorker() &&
		   source >= PGC_S_CLIENT && source != PGC_S_TEST;
}

/* GUC check hook. */
static bool
check_after(char **value, void **extra, GucSource source)
{
	const char *message;
	const char *hint;
	int			sqlstate;
	Token		token;
	CoverageNode me;

	if (*value == NULL || **value == '\0' || !is_set_now(source))
		return true;
	message = coverage_read_token(*value, &token, &sqlstate, &hint);
	if (message)
	{
		GUC_check_errcode(sqlstate);
		GUC_check_errmsg("%s", message);
		GUC_check_errhint("%s", hint);
		return false;
	}
	if (!IsTransactionState())
		return true;
	me = coverage_of_node();
	if (source == PGC_S_CLIENT)
	{
		awaited.given = true;
		awaited.me = me;
		awaited.token = token;
		return true;
	}
	refuse_late();
	after_wait(&me, &token);
	return true;
}

/*
 * Waits for the token of the connection's options. PostgreSQL calls this in the middle of a walk over
 * all settings, where no transaction may begin or end, so nothing here reads catalogs.
 */
static void
wait_at_connect(void)
{
	if (!awaited.given || IsTransactionState())
		return;
	awaited.given = false;
	after_wait(&awaited.me, &awaited.token);
}

void
after_define_settings(void)
{
	own_commit_define_setting(wait_at_connect);
	DefineCustomStringVariable(
		"replication_plugin.after",
		"A token: SET waits until this node has what it stands for.",
		"What replication_plugin.write_token() has returned, or the setting replication_plugin.token has shown, on any member.",
		&setting_after, "", PGC_USERSET, GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, check_after, NULL,
		NULL);
	DefineCustomIntVariable(
		"replication_plugin.after_timeout",
		"How long setting replication_plugin.after waits before it fails.", NULL,
		&setting_after_timeout, 10000, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
}
