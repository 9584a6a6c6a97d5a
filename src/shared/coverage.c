/*
 * coverage.c
 *		Whether this node has what a token stands for.
 *
 * Invariant: a token that is covered stands for nothing that a snapshot taken afterwards does not
 * see. Positions of other nodes are therefore compared with what is visible here, and not with the
 * progress of their origins, which moves a moment before. A commit of this node itself counts only if
 * this run of its server has it: what a crash has undone is not covered when the WAL has grown over
 * its position.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/shmem.h"
#include "catalog/nodes.h"
#include "shared/coverage.h"
#include "shared/manager_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/wakeup.h"

const char *
coverage_read_token(const char *text, Token *token, int *sqlstate, const char **hint)
{
	TokenProblem problem = token_from_text(text, token);

	if (problem == TOKEN_MALFORMED)
	{
		*sqlstate = ERRCODE_TOKEN_MALFORMED;
		*hint = "A token is what replication_plugin.write_token() returns, and the setting replication_plugin.token shows.";
		return psprintf("malformed token \"%.200s\"", text);
	}
	if (problem == TOKEN_NEWER)
	{
		*sqlstate = ERRCODE_TOKEN_NEWER;
		*hint = "Update the extension on this node, or ask the node that gave the token.";
		return "the token is of a newer version of the extension than this node has";
	}
	Assert(problem == TOKEN_VALID);
	return NULL;
}

void
coverage_require_token(const char *text, Token *token)
{
	int			sqlstate;
	const char *hint;
	const char *message = coverage_read_token(text, token, &sqlstate, &hint);

	if (message)
		ereport(ERROR, (errcode(sqlstate), errmsg("%s", message), errhint("%s", hint)));
}

/* Raises an error if this database is a copy of a member, which has what that had, and no more. */
static void
refuse_copy(void)
{
	if (manager_status_is_copy(MyDatabaseId))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg(IS_A_COPY),
				 errhint(IS_A_COPY_HINT)));
}

CoverageNode
coverage_of_node(void)
{
	CoverageNode me;
	const NodeRun *run;

	shmem_require();
	if (!nodes_local_in_group())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is in no group"),
				 errhint("Ask a member of the group that the token is of.")));
	refuse_copy();
	origin_map_ensure_loaded();
	run = nodes_local_run();
	memcpy(me.group, run->group, TOKEN_GROUP_BYTES);
	me.node = run->node;
	me.run = run->number;
	me.run_start = run->start;
	if (run->token != (int64) instance_token())
	{
		/* the manager has not noted yet that the server runs anew */
		me.run++;
		me.run_start = manager_status_run_start();
	}
	return me;
}

/* Returns the end of this server's WAL, or of what is replayed of it on a standby. */
static uint64
own_end(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : GetXLogInsertRecPtr();
}

/* Returns the position of an origin up to which this node has everything. */
static uint64
have_of(const CoverageNode *me, const TokenEntry *e)
{
	return e->node == me->node ? own_end() : origin_hold_visible(e->node, false);
}

/*
 * Returns true if this server has lost a commit of its own: it is behind the end of the WAL, or of a
 * run that is yet to come, so that the server was set back; or it was made in an earlier run, and is
 * behind the position where this run began.
 */
static bool
is_lost_here(const CoverageNode *me, const TokenEntry *e)
{
	if (e->node != me->node || RecoveryInProgress())
		return false;
	return e->lsn.value > own_end() || e->run > me->run ||
		   (e->run != 0 && e->run < me->run && me->run_start != InvalidXLogRecPtr &&
			e->lsn.value > me->run_start);
}

/* Returns true if it is not known yet whether a commit of this server survived its last start. */
static bool
is_open_here(const CoverageNode *me, const TokenEntry *e)
{
	return e->node == me->node && e->run != me->run && me->run_start == InvalidXLogRecPtr;
}

/* Returns the name of a member, or "node 5" where it cannot be read, or is not known. */
static const char *
name_of(NodeId node)
{
	ListCell   *lc;

	foreach(lc, IsTransactionState() ? nodes_all() : NIL)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == node)
			return psprintf("node \"%s\"", n->node_name);
	}
	return psprintf("node %d", node);
}

/* Raises an error if the token is of another group, or stands for what is lost here. */
static void
require_possible(const CoverageNode *me, const Token *token)
{
	if (memcmp(me->group, token->group, TOKEN_GROUP_BYTES) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_TOKEN_OTHER_GROUP),
				 errmsg("the token is of another group than this node")));
	for (int i = 0; i < token->n; i++)
	{
		const TokenEntry *e = &token->entries[i];

		if (is_lost_here(me, e))
			ereport(ERROR,
					(errcode(ERRCODE_TOKEN_LOST),
					 errmsg("what the token stands for is lost: %s has no commit at %X/%X of run " INT64_FORMAT " of its server",
							name_of(e->node), LSN_FORMAT_ARGS(e->lsn.value), e->run),
					 errdetail("A crash of its server has undone it after an asynchronous commit, or the server was restored.")));
	}
}

bool
coverage_has(const CoverageNode *me, const Token *token)
{
	require_possible(me, token);
	for (int i = 0; i < token->n; i++)
	{
		const TokenEntry *e = &token->entries[i];

		if (is_open_here(me, e) || have_of(me, e) < e->lsn.value)
			return false;
	}
	return true;
}

bool
coverage_wait(const CoverageNode *me, const Token *token, Moment deadline)
{
	CoverageNode now = *me;
	bool		has;

	while (!(has = coverage_has(&now, token)))
	{
		InvalidateCatalogSnapshot();	/* it would keep vacuum back */
		if (!wakeup_sleep_until(WAKEUP_APPLIED, deadline))
			break;
		if (now.run_start == InvalidXLogRecPtr)
			now.run_start = manager_status_run_start();
	}
	wakeup_done();
	return has;
}

char *
coverage_missing(const CoverageNode *me, const Token *token)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < token->n; i++)
	{
		const TokenEntry *e = &token->entries[i];
		uint64		have = have_of(me, e);

		if (have < e->lsn.value)
			appendStringInfo(&text, "%s%s: " UINT64_FORMAT " bytes are missing, %X/%X is needed and %X/%X is here",
							 text.len > 0 ? "; " : "", name_of(e->node), e->lsn.value - have,
							 LSN_FORMAT_ARGS(e->lsn.value), LSN_FORMAT_ARGS(have));
	}
	return text.data;
}
