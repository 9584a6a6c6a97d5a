/*
 * own_commit.c
 *		The last commit of this session that other nodes get.
 *
 * Invariant: after a commit that wrote replicated rows, the token names the end of its commit record,
 * which is the position under which other nodes get the transaction. After any other commit it is
 * what it was.
 *
 * Nothing tells of each row. The hooks for permissions and objects see each table that a statement,
 * COPY or TRUNCATE may write, and each new table. At commit, the counters that PostgreSQL keeps for
 * the statistics of tables tell whether rows were written, without those of subtransactions that
 * were rolled back. Where they do not tell (track_counts is off; a partitioned table, whose rows are
 * counted for partitions; a table that is dropped), rows count as written, and so do those of COMMIT
 * PREPARED. A commit that is taken for one with replicated rows costs nothing but time: other nodes
 * know that they have all up to it with the next frontier row (shared/activity.h).
 *
 * Whether a table is replicated is asked at commit. A table that the same transaction has moved to
 * where tables are excluded is therefore missed.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/own_worker.h"
#include "base/shmem.h"
#include "capture/own_commit.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "shared/activity.h"
#include "shared/manager_status.h"
#include "shared/origin_map.h"

#define MAX_TABLES		100		/* if a transaction may write more, its rows count as written */

typedef struct OwnCommit
{
	/* of the transaction: what it may write (in its memory context), and whether it is listed */
	Oid		   *tables;
	int			n;
	bool		more;			/* more than MAX_TABLES, or a message that others get */
	bool		uncounted;		/* some were written while PostgreSQL did not count rows */
	XLogRecPtr	prepared;		/* end of the COMMIT PREPARED that it has executed, or invalid */
	Token		coming;			/* its token but for the position; without an entry: none */
	/* of the session */
	Token		last;			/* without an entry: there was none */
} OwnCommit;

static OwnCommit own;
static char *setting_token = NULL;
static void (*setting_shown) (void) = NULL;

/* ---------- what a transaction may write ---------- */

/* Returns true in a process whose commits are a client's. */
static bool
is_clients(void)
{
	return IsUnderPostmaster && !is_own_worker() && !IsParallelWorker() && shmem_exists();
}

/* Notes a table that the transaction may write. */
static void
note_table(Oid relid)
{
	own.uncounted |= !pgstat_track_counts;
	if (own.more)
		return;
	for (int i = own.n - 1; i >= 0; i--)
	{
		if (own.tables[i] == relid)
			return;
	}
	if (own.n == MAX_TABLES)
	{
		own.more = true;
		return;
	}
	if (!own.tables)
		own.tables = MemoryContextAlloc(TopTransactionContext, MAX_TABLES * sizeof(Oid));
	own.tables[own.n++] = relid;
}

/* Hook function for permissions. */
void
own_commit_perms(List *range_table, List *permissions)
{
	ListCell   *lc;

	if (!is_clients())
		return;
	foreach(lc, range_table)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION && rte->rellockmode == RowExclusiveLock)
			note_table(rte->relid);
	}
}

/* Hook function for objects: tables that TRUNCATE empties, and new tables. */
void
own_commit_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Assert(access == OAT_TRUNCATE || access == OAT_POST_CREATE);
	if (class == RelationRelationId && subid == 0 && is_clients())
		note_table(object);
}

/* Hook function for commands. */
void
own_commit_command(const UtilityCommand *command)
{
	utility_next(command);
	if (!utility_is_transaction(command, TRANS_STMT_COMMIT_PREPARED) || !is_clients())
		return;
	own.prepared = XactLastRecEnd;
	activity_note();			/* it calls no transaction callback of its own */
}

void
own_commit_note_message(void)
{
	own.more = true;
}

/* ---------- the commit ---------- */

/* Returns true if rows of a table were written, or may have been. */
static bool
has_rows(Relation rel)
{
	PgStat_TableXactStatus *counts;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE || own.uncounted ||
		!pgstat_should_count_relation(rel))
		return true;
	counts = rel->pgstat_info->trans;
	return counts && (counts->truncdropped || counts->tuples_inserted > 0 ||
					  counts->tuples_updated > 0 || counts->tuples_deleted > 0);
}

/* Returns true if replicated rows of a table were written, or may have been. */
static bool
is_written(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		written;

	if (!rel)
		return true;			/* it is dropped, here */
	written = has_rows(rel) && table_is_replicated(rel);
	RelationClose(rel);
	return written;
}

/* Returns true if the transaction wrote replicated rows, or may have. */
static bool
wrote_rows(void)
{
	if (own.prepared != InvalidXLogRecPtr || own.more)
		return true;
	for (int i = 0; i < own.n; i++)
	{
		if (is_written(own.tables[i]))
			return true;
	}
	return false;
}

/*
 * Returns true if other nodes get the transaction that is committed: it wrote replicated rows, as a
 * member, and not under the origin of another node or of a repair.
 */
static bool
travels(void)
{
	if (own.prepared == InvalidXLogRecPtr &&
		((own.n == 0 && !own.more) || !TransactionIdIsValid(GetTopTransactionIdIfAny())))
		return false;
	if (!nodes_local_in_group())
		return false;
	if (replorigin_session_origin != InvalidRepOriginId)
		origin_map_ensure_loaded();
	return origin_map_node(replorigin_session_origin) == ORIGIN_NODE_LOCAL && wrote_rows();
}

/* Called before the commit record is written. May raise errors. */
static void
before_commit(void)
{
	const NodeRun *run;

	own.coming.n = 0;
	if (!is_clients() || !OidIsValid(MyDatabaseId) || !travels())
		return;
	run = nodes_local_run();
	memcpy(own.coming.group, run->group, TOKEN_GROUP_BYTES);
	own.coming.entries[0].node = run->node;
	/* note_run() gives the next number to this run if it is not noted yet */
	own.coming.entries[0].run = run->number + (run->token == (int64) instance_token() ? 0 : 1);
	own.coming.n = 1;
}

/* Called after the commit. Only for lack of memory it raises an error, which is a PANIC here. */
static void
after_commit(void)
{
	char		text[TOKEN_TEXT_SIZE];

	if (own.coming.n == 0)
		return;
	own.last.n = 1;
	memcpy(own.last.group, own.coming.group, TOKEN_GROUP_BYTES);
	own.last.entries[0] = own.coming.entries[0];
	own.last.entries[0].lsn.value =
		own.prepared != InvalidXLogRecPtr ? own.prepared : XactLastCommitEnd;
	token_to_text(&own.last, text);
	SetConfigOption("replication_plugin.token", text, PGC_INTERNAL, PGC_S_OVERRIDE);
}

/* Forgets the transaction. */
static void
forget_transaction(void)
{
	own.tables = NULL;
	own.n = 0;
	own.more = own.uncounted = false;
	own.prepared = InvalidXLogRecPtr;
	own.coming.n = 0;
}

static void
own_commit_at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_commit();
			break;
		case XACT_EVENT_COMMIT:
			after_commit();
			forget_transaction();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_transaction();
			break;
		default:
			break;
	}
}

bool
own_commit_token(char *text)
{
	if (own.last.n == 0)
		return false;
	token_to_text(&own.last, text);
	return true;
}

/* ---------- the setting ---------- */

/* GUC show hook. */
static const char *
show_token(void)
{
	if (setting_shown)
		setting_shown();
	return setting_token ? setting_token : "";
}

void
own_commit_define_setting(void (*shown) (void))
{
	setting_shown = shown;
	DefineCustomStringVariable(
		"replication_plugin.token",
		"Token of the last commit of this session that wrote replicated rows. Clients are told when it changes.",
		"Empty: there was none.",
		&setting_token, "", PGC_INTERNAL, GUC_REPORT | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
		NULL, NULL, show_token);
}

void
own_commit_install(void)
{
	RegisterXactCallback(own_commit_at_transaction_event, NULL);
}
