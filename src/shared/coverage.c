/*
 * coverage.c
 *		Whether this node has what a token stands for.
 *
 * Invariant: a token that is covered stands for nothing that a snapshot taken afterwards does not
 * see. Positions of other nodes are therefore compared with what is visible here, and not with the
 * progress of their origins, which moves a moment before.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "lib/stringinfo.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "catalog/nodes.h"
#include "shared/coverage.h"
#include "shared/manager_status.h"
#include "shared/origin_hold.h"
#include "shared/origin_map.h"
#include "shared/wakeup.h"

void
coverage_read_token(const char *text, Token *token)
{
	TokenProblem problem = token_from_text(text, token);

	if (problem == TOKEN_MALFORMED)
		ereport(ERROR,
				(errcode(ERRCODE_TOKEN_MALFORMED),
				 errmsg("malformed token \"%.200s\"", text),
				 errhint("A token is what replication_plugin.write_token() returns, and the setting replication_plugin.token shows.")));
	if (problem == TOKEN_NEWER)
		ereport(ERROR,
				(errcode(ERRCODE_TOKEN_NEWER),
				 errmsg("the token is of a newer version of the extension than this node has"),
				 errhint("Update the extension on this node, or ask the node that gave the token.")));
	Assert(problem == TOKEN_VALID);
}

/* Returns the end of this server's WAL, or of what is replayed of it on a standby. */
static uint64
own_end(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : GetXLogInsertRecPtr();
}

/* Returns the position of an origin up to which this node has everything. */
static uint64
have_of(const TokenEntry *e, NodeId me)
{
	return e->node == me ? own_end() : origin_hold_visible(e->node, false);
}

/* Returns the name of a member, or "node 5" if there is none with that number. */
static const char *
name_of(NodeId node)
{
	ListCell   *lc;

	foreach(lc, nodes_all())
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == node)
			return psprintf("node \"%s\"", n->node_name);
	}
	return psprintf("node %d", node);
}

/*
 * Returns true if this server has lost a commit of its own: it is behind the end of the WAL, or it
 * was made in an earlier run of the server and is behind the position where this run began.
 */
static bool
is_lost_here(const TokenEntry *e, const NodeRun *run)
{
	if (e->node != run->node || RecoveryInProgress())
		return false;
	return e->lsn.value > own_end() ||
		   (e->run != 0 && e->run < run->number && e->lsn.value > run->start);
}

void
coverage_require(const Token *token)
{
	const NodeRun *run;

	if (!nodes_local_in_group())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is in no group"),
				 errhint("Ask a member of the group that the token is of.")));
	run = nodes_local_run();
	if (memcmp(run->group, token->group, TOKEN_GROUP_BYTES) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_TOKEN_OTHER_GROUP),
				 errmsg("the token is of another group than node \"%s\"", nodes_local_name())));
	for (int i = 0; i < token->n; i++)
	{
		const TokenEntry *e = &token->entries[i];

		if (is_lost_here(e, run))
			ereport(ERROR,
					(errcode(ERRCODE_TOKEN_LOST),
					 errmsg("what the token stands for is lost: node \"%s\" has no commit at %X/%X", nodes_local_name(),
							LSN_FORMAT_ARGS(e->lsn.value)),
					 errdetail("A crash of its server has undone it, after an asynchronous commit or as the server was restored.")));
	}
}

bool
coverage_has(const Token *token)
{
	coverage_require(token);
	origin_map_ensure_loaded();
	for (int i = 0; i < token->n; i++)
	{
		if (have_of(&token->entries[i], nodes_local_id()) < token->entries[i].lsn.value)
			return false;
	}
	return true;
}

bool
coverage_wait(const Token *token, Moment deadline)
{
	bool		has;

	while (!(has = coverage_has(token)))
	{
		InvalidateCatalogSnapshot();	/* it would keep vacuum back */
		if (!wakeup_sleep_until(WAKEUP_APPLIED, deadline))
			break;
		AcceptInvalidationMessages();
	}
	wakeup_done();
	return has;
}

char *
coverage_missing(const Token *token)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < token->n; i++)
	{
		const TokenEntry *e = &token->entries[i];
		uint64		have = have_of(e, nodes_local_id());

		if (have < e->lsn.value)
			appendStringInfo(&text, "%s%s: " UINT64_FORMAT " bytes are missing, %X/%X is needed and %X/%X is here",
							 text.len > 0 ? "; " : "", name_of(e->node), e->lsn.value - have,
							 LSN_FORMAT_ARGS(e->lsn.value), LSN_FORMAT_ARGS(have));
	}
	return text.data;
}
