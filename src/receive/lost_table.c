/*
 * lost_table.c
 *		Finds out whether a table that does not exist on this node is gone everywhere.
 *
 * A table that does not exist on this node may be created here later: its rows must wait. It may
 * also have been dropped on all nodes while rows were under way, or have been a scratch table of
 * one node: its rows would wait for ever. Therefore the link worker asks all members.
 *
 * If no member has a table of that name, and the node that the rows come from has not renamed it,
 * no node has the rows any more, and this node passes them over. The rows come from the provider
 * or, if the provider had to keep them, from the node that sent them to it. Passing over is
 * reported in the log and in the view conflicts, once for each process of the link. A member that
 * cannot be asked may have the table: the rows wait, and the error names that member.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "apply/apply.h"
#include "base/own_transaction.h"
#include "base/peer.h"
#include "base/session.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "receive/asked.h"
#include "receive/lost_table.h"
#include "receive/unseen_table.h"

static const char same_table_sql[] =
	"SELECT n.nspname = $1 AND c.relname = $2, pg_catalog.format('%I.%I', n.nspname, c.relname)"
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" WHERE n.nspname = $1 AND c.relname = $2 OR c.oid = $3::pg_catalog.oid"
	" ORDER BY 1 DESC LIMIT 1";
static const char insert_conflict_sql[] =
	"INSERT INTO " EXTENSION_SCHEMA ".conflict_log (detected_at, relid, table_name,"
	" conflict_type, resolution, detail)"
	" VALUES (pg_catalog.clock_timestamp(), 0, $1, 'table_missing', 'skip', $2)";

/* The answer of one member. */
typedef enum Answer
{
	HAS_NO_TABLE,
	HAS_TABLE,
	/* the rows' table has another name there now */
	HAS_RENAMED,
	IS_MAKING_TABLES,			/* an uncommitted table may be the one */
	CANNOT_BE_ASKED
} Answer;

/*
 * Asks in an open session. by_number: remote_relid is an OID of that node. Sets *name to the
 * table's name there if a table is found.
 */
static Answer
ask_session(PGconn *conn, const LostTable *table, bool by_number, char **name)
{
	const char *params[3] = {table->nspname, table->relname,
							 by_number ? psprintf("%u", table->remote_relid) : "0"};
	bool		unseen = unseen_tables(conn);	/* must come before the query */
	PGresult   *res = peer_exec_params(conn, same_table_sql, 3, params);
	Answer		answer = HAS_NO_TABLE;

	if (PQntuples(res) > 0)
	{
		answer = PQgetvalue(res, 0, 0)[0] == 't' ? HAS_TABLE : HAS_RENAMED;
		*name = pstrdup(PQgetvalue(res, 0, 1));
	}
	PQclear(res);
	return answer == HAS_NO_TABLE && unseen ? IS_MAKING_TABLES : answer;
}

/* Asks one member whether it has the table, by OID as well if the OID is that member's. */
static Answer
lost_table_ask(Link *link, const char *dsn, const LostTable *table, bool by_number, char **name)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Answer answer = CANNOT_BE_ASKED;

	PG_TRY();
	{
		answer = ask_session(asked_connect(&link->asked, dsn), table, by_number, name);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		asked_give_up(&link->asked, dsn);
	}
	PG_END_TRY();
	return answer;
}

/* Appends a node's name to a list. */
static void
append_name(StringInfo list, const char *name)
{
	appendStringInfo(list, "%s\"%s\"", list->len ? ", " : "", name);
}

/* Sets *detail and *hint for a table that has been renamed where its rows come from. */
static void
explain_renamed(const LostTable *table, const char *node, const char *name, char **detail,
				char **hint)
{
	*detail = psprintf("Node \"%s\" had it under that name, and calls it %s now.", node, name);
	*hint = psprintf("Give the table that belongs to it here its former name %s until the link has gone on, and rename it then.",
					 quote_qualified_identifier(table->nspname, table->relname));
}

/*
 * Asks the provider and all other members. Returns true if none has the table. Otherwise sets
 * *detail, and *hint if there is one, to which members have it or may have it.
 */
static bool
is_gone_everywhere(Link *link, const LostTable *table, char **detail, char **hint)
{
	StringInfoData having,
				making,
				silent;
	StringInfo lists[] =
		{[HAS_TABLE] = &having, [IS_MAKING_TABLES] = &making, [CANNOT_BE_ASKED] = &silent};
	char	   *name = NULL;
	NodeId		from = table->remote_node != INVALID_NODE_ID ? table->remote_node : link->provider;
	Answer		provider =
		lost_table_ask(link, link->provider_dsn, table, from == link->provider, &name);
	ListCell   *lc;

	initStringInfo(&having);
	initStringInfo(&making);
	initStringInfo(&silent);
	if (provider == HAS_RENAMED)
	{
		explain_renamed(table, link->provider_name, name, detail, hint);
		return false;
	}
	if (provider != HAS_NO_TABLE)
		append_name(lists[provider], link->provider_name);
	foreach(lc, nodes_others(NULL))
	{
		NodeRow    *n = lfirst(lc);
		Answer		answer = n->node_id == link->provider
								 ? HAS_NO_TABLE
								 : lost_table_ask(link, n->dsn, table, n->node_id == from, &name);

		if (answer == HAS_RENAMED)
		{
			explain_renamed(table, n->node_name, name, detail, hint);
			return false;
		}
		if (answer != HAS_NO_TABLE)
			append_name(lists[answer], n->node_name);
	}
	if (having.len > 0)
		*detail = psprintf("It exists on node %s.", having.data);
	else if (making.len > 0)
		*detail = psprintf("A transaction that makes tables has not ended on node %s: it may be one of them.", making.data);
	else if (silent.len > 0)
	{
		*detail = psprintf("It may be gone everywhere, but node %s cannot be asked.", silent.data);
		*hint = psprintf("The link goes on when the node answers. To pass over the rows: SELECT replication_plugin.exclude_tables(%s, %s)",
						 quote_literal_cstr(table->nspname), quote_literal_cstr(table->relname));
	}
	return having.len == 0 && making.len == 0 && silent.len == 0;
}

/* Reports in the log and in the view conflicts that rows of the table are passed over. */
static void
lost_table_tell(Link *link, const LostTable *table)
{
	char	   *name = quote_qualified_identifier(table->nspname, table->relname);
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		args[2];
	OwnTransaction t;
	int			nest;

	ereport(LOG,
			(errmsg("link from node \"%s\" passes over rows of table %s: no member has it any more", link->provider_name, name)));
	t = own_transaction_begin_sql();
	nest = session_sql_begin();
	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(psprintf("rows of transaction %X/%X of node %d, and later ones of this table: no member has it any more",
										   LSN_FORMAT_ARGS(table->origin_lsn), table->origin));
	if (SPI_execute_with_args(insert_conflict_sql, 2, types, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not record that rows are passed over");
	session_sql_end(nest);
	own_transaction_end(&t);
}

bool
lost_table_passed_over(Link *link, char **detail, char **hint)
{
	LostTable	table;
	OwnTransaction t = own_transaction_begin();
	bool		missing = apply_lost_table(link->apply, &table);

	own_transaction_end(&t);
	if (!missing || !is_gone_everywhere(link, &table, detail, hint))
		return false;
	lost_table_tell(link, &table);
	apply_pass_over_table(link->apply);
	return true;
}
