/*
 * link_config.c
 *		Reads and stores the catalog data of a link worker.
 *
 * Each function runs in a transaction of its own, between transactions of the stream.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#include "base/own_transaction.h"
#include "catalog/agreement.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "receive/link.h"

static const char link_row_sql[] =
	"SELECT full_origins, seen, seen_lsn, skip_lsn"
	" FROM " EXTENSION_SCHEMA ".link WHERE provider = $1";
static const char own_run_sql[] =
	"SELECT pg_catalog.format('%L, %L, %L, %L', incarnation, run_token, run_start, run_row)"
	" FROM " EXTENSION_SCHEMA ".local_node";
static const char frontier_row_sql[] =
	"SELECT vector FROM " EXTENSION_SCHEMA ".frontier WHERE node_id = $1";
static const char store_seen_sql[] =
	"UPDATE " EXTENSION_SCHEMA ".link SET seen = $2, seen_lsn = $3"
	" WHERE provider = $1";
static const char forget_skip_sql[] =
	"UPDATE " EXTENSION_SCHEMA ".link"
	" SET skip_lsn = array_remove(skip_lsn, $2) WHERE provider = $1";
static const char check_run_sql[] = "SELECT " EXTENSION_SCHEMA ".check_run(%d, %s, %s, %s, %s)";
static const char note_peer_run_sql[] = "SELECT " EXTENSION_SCHEMA ".note_peer_run(%d, %s, %s)";
static const char note_expulsion_sql[] = "SELECT " EXTENSION_SCHEMA ".note_expulsion(%s, %s)";

/* Reads the row of table link. The results are allocated in the given context. */
static void
load_link_row(Link *link, MemoryContext context)
{
	Oid			types[1] = {INT4OID};
	Datum		args[1] = {Int32GetDatum(link->provider)};
	HeapTuple	row;
	TupleDesc	desc;
	MemoryContext old;
	bool		isnull;
	Datum		d;

	if (SPI_execute_with_args(link_row_sql, 1, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the link's settings");
	old = MemoryContextSwitchTo(context);
	link->full_origins = pstrdup("own");
	link->skip = NIL;
	if (SPI_processed == 1)
	{
		row = SPI_tuptable->vals[0];
		desc = SPI_tuptable->tupdesc;
		link->full_origins = TextDatumGetCString(SPI_getbinval(row, desc, 1, &isnull));
		d = SPI_getbinval(row, desc, 2, &isnull);
		if (!isnull)
			link->seen_stored = frontier_from_text(TextDatumGetCString(d));
		d = SPI_getbinval(row, desc, 3, &isnull);
		link->seen_lsn = isnull ? InvalidXLogRecPtr : DatumGetLSN(d);
		d = SPI_getbinval(row, desc, 4, &isnull);
		if (!isnull)
		{
			Datum	   *lsns;
			int			n;

			deconstruct_array(DatumGetArrayTypeP(d), PG_LSNOID, 8, true, TYPALIGN_DOUBLE,
							  &lsns, NULL, &n);
			for (int i = 0; i < n; i++)
			{
				XLogRecPtr *lsn = palloc(sizeof(XLogRecPtr));

				*lsn = DatumGetLSN(lsns[i]);
				link->skip = lappend(link->skip, lsn);
			}
		}
	}
	MemoryContextSwitchTo(old);
}

/* Returns this server's run as arguments for SQL, allocated in SPI's context. */
static char *
local_run(void)
{
	if (SPI_execute(own_run_sql, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the state of this node");
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* Merges a frontier, given as text or NULL, into the seen vector of the link. */
static void
merge_seen(Link *link, const char *text)
{
	Frontier   *f = text ? frontier_from_text(text) : NULL;
	MemoryContext old;

	if (!f)
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	frontier_merge(link->seen, f);
	MemoryContextSwitchTo(old);
}

/*
 * Loads what the provider had seen before anything that it still has to send: the frontier with
 * which it was admitted, and the vector of its frontier row. This node has that row, and therefore
 * also everything that came before it on the provider.
 */
static void
load_seen(Link *link, NodeRow *provider)
{
	Oid			types[1] = {INT4OID};
	Datum		args[1] = {Int32GetDatum(link->provider)};

	merge_seen(link, provider->add_frontier);
	if (SPI_execute_with_args(frontier_row_sql, 1, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the frontier of node %d", link->provider);
	if (SPI_processed == 1)
		merge_seen(link, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
}

void
link_load(Link *link)
{
	OwnTransaction t = own_transaction_begin_sql();
	MemoryContext context = t.context;
	LocalNode  *local;
	NodeRow    *provider;

	SPI_connect();
	local = nodes_local();
	if (!local)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is in no group")));
	provider = nodes_by_id(link->provider);
	link->me = local->node_id;
	link->joining = strncmp(local->state, "joining", 7) == 0;
	link->adopted = local->copy_of != INVALID_NODE_ID;
	link->agreed = group_protocol();
	link->run = MemoryContextStrdup(context, local_run());
	link->group_id = MemoryContextStrdup(context, local->group_id);
	if (provider && strcmp(provider->state, "removed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" has been removed from the group", provider->node_name)));
	if (provider)
	{
		link->provider_name = MemoryContextStrdup(context, provider->node_name);
		link->provider_dsn = MemoryContextStrdup(context, provider->dsn);
		load_seen(link, provider);
	}
	else if (local->source_dsn && local->source_id == link->provider)
	{
		/* while joining, the table of nodes may not be copied yet */
		link->provider_name = psprintf("node %d", link->provider);
		link->provider_name = MemoryContextStrdup(context, link->provider_name);
		link->provider_dsn = MemoryContextStrdup(context, local->source_dsn);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("node %d is not known here", link->provider)));
	load_link_row(link, context);
	SPI_finish();
	own_transaction_end(&t);
	/* The stream's connection, and what follows, may outlive the context of the caller. */
	MemoryContextSwitchTo(TopMemoryContext);
}

void
link_store_seen(Link *link, XLogRecPtr position)
{
	OwnTransaction t;
	Oid			types[3] = {INT4OID, TEXTOID, LSNOID};
	Datum		args[3];

	if (!link->seen_changed || link->seen_stored)
		return;
	t = own_transaction_begin_sql();
	SPI_connect();
	args[0] = Int32GetDatum(link->provider);
	args[1] = CStringGetTextDatum(frontier_to_text(link->seen));
	args[2] = LSNGetDatum(position);
	if (SPI_execute_with_args(store_seen_sql, 3, types, args, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store what the provider had seen");
	SPI_finish();
	own_transaction_end(&t);
	link->seen_changed = false;
}

bool
link_skips(Link *link, XLogRecPtr lsn)
{
	ListCell   *lc;

	foreach(lc, link->skip)
	{
		if (*(XLogRecPtr *) lfirst(lc) == lsn)
			return true;
	}
	return false;
}

void
link_skip_done(Link *link, XLogRecPtr lsn)
{
	Oid			types[2] = {INT4OID, LSNOID};
	Datum		args[2] = {Int32GetDatum(link->provider), LSNGetDatum(lsn)};
	OwnTransaction t = own_transaction_begin_sql();

	SPI_connect();
	if (SPI_execute_with_args(forget_skip_sql, 2, types, args, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not forget a skipped transaction");
	SPI_finish();
	own_transaction_end(&t);
}

void
link_check_run(Link *link, const char *const *run)
{
	char		  *check = psprintf(check_run_sql, link->provider, quote_literal_cstr(run[0]),
									quote_literal_cstr(run[1]), quote_literal_cstr(run[2]),
									quote_literal_cstr(run[3]));
	char	   *note = psprintf(note_peer_run_sql, link->provider,
								quote_literal_cstr(run[0]), quote_literal_cstr(run[1]));
	OwnTransaction t = own_transaction_begin_sql();

	SPI_connect();
	/* a joining node has copied data that is newer than its stream */
	if (!link->joining && SPI_execute(check, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not check the run of node %d", link->provider);
	if (SPI_execute(note, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not note the run of node %d", link->provider);
	SPI_finish();
	own_transaction_end(&t);
}

void
link_note_expulsion(int sqlstate, const char *message)
{
	const char *state = sqlstate == ERRCODE_NODE_REMOVED ? "removed" : "needs_rejoin";
	char	   *sql = psprintf(note_expulsion_sql,
							   quote_literal_cstr(state), quote_literal_cstr(message));
	OwnTransaction t = own_transaction_begin_sql();

	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not note that this node is out");
	SPI_finish();
	own_transaction_end(&t);
	ereport(LOG, (errmsg("this node is out of its group: %s", message)));
}

bool
link_node_removed(NodeId node)
{
	OwnTransaction t = own_transaction_begin_sql();
	NodeRow    *row = nodes_by_id(node);
	bool		removed = row && strcmp(row->state, "removed") == 0;

	own_transaction_end(&t);
	return removed;
}
