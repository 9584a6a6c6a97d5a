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
 * the session is shown in pg_stat_activity and can be cancelled. A token that is set for a role or a
 * database is read and not waited for: nobody asks for it now.
 */
#include "postgres.h"

#include <limits.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/own_transaction.h"
#include "base/own_worker.h"
#include "capture/own_commit.h"
#include "shared/coverage.h"
#include "sqlapi/after.h"

static char *setting_after = NULL;
static int	setting_after_timeout = 10000;
static char *awaited = NULL;	/* from the connection's options, until it is waited for */

/* Waits until this node has what a token stands for. Raises an error after the timeout. */
static void
after_wait(const char *text)
{
	Token		token;

	coverage_read_token(text, &token);
	if (coverage_wait(&token, moment_after(setting_after_timeout)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_TOKEN_NOT_COVERED),
			 errmsg("this node does not have what the token stands for after %d ms", setting_after_timeout),
			 errdetail("%s.", coverage_missing(&token)),
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
				 errdetail("The transaction has taken its snapshot, which waiting does not change.")));
}

/* Returns true in a session that waits when the setting is set, by whoever has set it. */
static bool
waits(GucSource source)
{
	return MyBackendType == B_BACKEND && !is_own_worker() && IsUnderPostmaster &&
		   !IsParallelWorker() && source != PGC_S_TEST && source >= PGC_S_CLIENT;
}

/* GUC check hook. */
static bool
check_after(char **value, void **extra, GucSource source)
{
	Token		token;

	if (*value == NULL || **value == '\0')
		return true;
	coverage_read_token(*value, &token);
	if (!waits(source))
		return true;
	if (source == PGC_S_CLIENT || !IsTransactionState())
	{
		if (awaited)
			pfree(awaited);
		awaited = MemoryContextStrdup(TopMemoryContext, *value);
		return true;
	}
	refuse_late();
	after_wait(*value);
	return true;
}

/* Waits for the token of the connection's options. */
static void
wait_at_connect(void)
{
	char	   *text = awaited;
	OwnTransaction t;

	if (!text || IsTransactionState())
		return;
	awaited = NULL;
	t = own_transaction_begin();
	after_wait(text);
	own_transaction_end(&t);
	pfree(text);
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
