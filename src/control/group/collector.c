/*
 * collector.c
 *		Removes what no older write can meet any more: tombstones, and deletes and merged columns
 *		of mergeable tables.
 *
 * A pass visits each block of a table once, some blocks at a time, so that the group worker gets to
 * its other duties however many there are.
 *
 * The extension's tables must not depend on autovacuum, which can be switched off, or be busy
 * elsewhere for hours: tables with many dead rows are vacuumed from here.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/own_transaction.h"
#include "catalog/names.h"
#include "catalog/waiting_table.h"
#include "control/group/collector.h"
#include "control/workers/sql.h"
#include "shared/newest_delete.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"
#include "store/parked.h"
#include "store/tombstone.h"

#define BLOCKS			128		/* visited by one statement */
#define WORK_MS			200		/* at a time, approximately */
#define REST			20		/* at most 1/REST of the time */
#define VACUUM_DEAD		"50000"	/* number of dead rows from which a table is vacuumed */
#define VACUUM_PAUSE_MS	10000	/* between two checks for that */

static const char owners_of_missing_sql[] =
	"SELECT string_agg(r.oid::text, ' ') FROM pg_roles r WHERE r.rolname IN"
	" (SELECT w.owner FROM replication_plugin.waiting_table w WHERE w.kept"
	"  AND to_regclass(format('%I.%I', w.schema_name, w.table_name)) IS NULL)";
static const char delete_states_sql[] =
	"DELETE FROM replication_plugin.row_state s USING replication_plugin.local_node l"
	" WHERE s.ctid >= $1::tid AND s.ctid < $2::tid AND (NOT EXISTS (SELECT FROM pg_class c"
	" WHERE c.oid = s.relid)"
	"  OR (s.deleted OR s.siblings = 0) AND age(s.xmin) > age($3::xid)"
	"  AND (s.siblings = 0 OR coalesce(s.newest, pg_xact_commit_timestamp(s.xmin), '-infinity')"
	"   <= coalesce(replication_plugin.frontier_ts($4, coalesce(s.newest_node, l.node_id)),"
	" 'infinity'))"
	"  AND (NOT s.merged AND s.siblings < 2"
	" OR replication_plugin.state_forgettable(s.state, NOT s.deleted,"
	"   coalesce(pg_xact_commit_timestamp(s.xmin), '-infinity'), l.node_id, $4))"
	"  AND NOT EXISTS (SELECT FROM replication_plugin.parked_row p WHERE p.relid = s.relid"
	" AND p.key_hash = s.key_hash)"
	"  AND NOT EXISTS (SELECT FROM replication_plugin.waiting_table w"
	" JOIN pg_namespace n ON n.nspname = w.schema_name"
	"   JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = w.table_name"
	" WHERE k.oid = s.relid))";
static const char table_blocks_sql[] =
	"SELECT pg_relation_size('replication_plugin.%s') / current_setting('block_size')::integer";
static const char any_prepared_sql[] =
	"SELECT 1 FROM pg_prepared_xacts WHERE database = current_database()";
static const char vacuum_table_sql[] = "VACUUM (SKIP_LOCKED, TRUNCATE false) replication_plugin.%s";
static const char next_table_sql[] =
	"SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	" WHERE n.nspname = 'replication_plugin' AND c.relkind = 'r'"
	"  AND pg_stat_get_dead_tuples(c.oid) > " VACUUM_DEAD " + c.reltuples / 5"
	" ORDER BY pg_stat_get_dead_tuples(c.oid) DESC LIMIT 1";
static const char table_name_sql[] =
	"SELECT quote_ident(relname) FROM pg_class WHERE oid = $1::oid";

void
collector_stable(Collector *c, TransactionId before, const char *seen)
{
	c->before = before;
	if (c->seen)
		pfree(c->seen);
	c->seen = MemoryContextStrdup(TopMemoryContext, seen);
}

/* ---------- the pass ---------- */

/*
 * Returns the owners of waiting tables that do not exist on this node, as OIDs separated by spaces,
 * or NULL if there are none. What is kept of such a table may belong to a table of another name: it
 * was renamed on this node before its rows came to wait, or is not renamed yet.
 */
static char *
owners_of_missing(void)
{
	return sql_value(owners_of_missing_sql, 0, NULL);
}

/* Converts such OIDs to a list. */
static List *
read_owners(char *numbers)
{
	char	   *rest = NULL;
	List	   *owners = NIL;

	for (char *n = numbers ? strtok_r(numbers, " ", &rest) : NULL; n;
		 n = strtok_r(NULL, " ", &rest))
		owners = lappend_oid(owners, atooid(n));
	return owners;
}

/* Returns the owner of a table, or InvalidOid if the table does not exist any more. */
static Oid
owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner = HeapTupleIsValid(tuple) ? ((Form_pg_class) GETSTRUCT(tuple))->relowner : InvalidOid;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return owner;
}

/*
 * Returns true if a delete is still needed: it may show that a parked row is obsolete
 * (apply/unpark.c), or a kept change. owners_of_missing: list of the OIDs from the function of that
 * name.
 */
static bool
is_needed(Oid relid, int64 hash, const void *owners_of_missing)
{
	const List *owners = owners_of_missing;

	return waiting_table_by_oid(relid) != NULL || parked_has(relid, hash) ||
		(owners != NIL && list_member_oid(owners, owner_of(relid)));
}

/* Deletes stable tombstones that are not needed any more. */
static void
collect_tombstones(const Collector *c)
{
	List	   *owners = read_owners(owners_of_missing());
	OwnTransaction t = sql_transaction_begin();

	origin_mark(origin_map_origin(ORIGIN_NODE_REPAIR));
	tombstone_collect(c->block, c->block + BLOCKS, c->started,
					  parked_none() && !waiting_tables() ? NULL : is_needed, owners);
	origin_unmark();
	own_transaction_end(&t);
}

/*
 * Deletes stable deletes and merged columns of mergeable tables. Every later write must also have
 * seen them, which c->seen ensures.
 */
static void
collect_states(const Collector *c)
{
	const char *params[4] = {psprintf("(%u,0)", c->block), psprintf("(%u,0)", c->block + BLOCKS),
	psprintf("%u", c->started), c->seen};

	sql_repair(delete_states_sql, 4, params, origin_map_origin(ORIGIN_NODE_REPAIR));
}

/* The tables of a pass. */
static const struct
{
	const char *name;
	void		(*collect) (const Collector *c);
}			tables[] = {
	{TABLE_TOMBSTONE, collect_tombstones},
	{TABLE_ROW_STATE, collect_states},
};

/* Begins with a table of the pass. */
static void
enter_table(Collector *c, int table)
{
	c->table = table;
	c->block = 0;
	if (table < lengthof(tables))
		c->nblocks = atooid(sql_value(psprintf(table_blocks_sql, tables[table].name), 0, NULL));
}

/* Collects in the next blocks. */
static void
collect_blocks(Collector *c)
{
	tables[c->table].collect(c);
	c->block += BLOCKS;
	if (c->block >= c->nblocks)
		enter_table(c, c->table + 1);
}

/*
 * Creates the origin of repairs if necessary. It marks what is deleted here, so that decoding
 * ignores it.
 */
static void
ensure_origin(void)
{
	OwnTransaction t;

	if (origin_map_origin(ORIGIN_NODE_REPAIR) != InvalidRepOriginId)
		return;
	t = own_transaction_begin();
	(void) origin_map_create(ORIGIN_NODE_REPAIR);
	own_transaction_end(&t);
}

/* Continues the pass for a while, or begins a new one. */
static void
collector_collect(Collector *c, Moment start)
{
	MemoryContext context,
				old;

	if (!TransactionIdIsValid(c->started))
	{
		c->started = c->before;
		c->before = InvalidTransactionId;
		enter_table(c, 0);
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "collect", ALLOCSET_DEFAULT_SIZES);
	ensure_origin();
	while (c->table < lengthof(tables) && !moment_is_past(start, WORK_MS))
	{
		old = MemoryContextSwitchTo(context);
		collect_blocks(c);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(context);
	if (c->table == lengthof(tables))
		c->started = InvalidTransactionId;
}

/* ---------- tombstones from before the server start ---------- */

/* Reads all tombstones once after a start of the server. */
static void
look_at_tombstones(void)
{
	OwnTransaction t;
	uint64		look;

	if (!newest_delete_look_begin(&look) ||
		sql_value(any_prepared_sql, 0, NULL))
		return;
	t = sql_transaction_begin();
	tombstone_look();
	own_transaction_end(&t);
	newest_delete_look_end(look);
}

/* ---------- vacuum ---------- */

/* Returns true if no session has a lock on a table for which VACUUM would have to wait. */
static bool
collector_is_free(Oid relid)
{
	OwnTransaction t = own_transaction_begin();
	bool		collector_is_free = ConditionalLockRelationOid(relid, ShareUpdateExclusiveLock);

	own_transaction_end(&t);
	return collector_is_free;
}

/*
 * Runs VACUUM like a session. VACUUM begins and ends transactions by itself; the memory context
 * that it is given outlives them.
 */
static void
vacuum_table(const char *name)
{
	const char *sql = psprintf(vacuum_table_sql, name);
	PlannedStmt *stmt = makeNode(PlannedStmt);
	OwnTransaction t;

	stmt->commandType = CMD_UTILITY;
	stmt->canSetTag = true;
	stmt->utilityStmt = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt;
	t = own_transaction_begin();
	MemoryContextSwitchTo(t.context);
	PortalContext = t.context;
	ProcessUtility(stmt, sql, false, PROCESS_UTILITY_TOPLEVEL, NULL, NULL, None_Receiver, NULL);
	PortalContext = NULL;
	own_transaction_end(&t);
}

/* Vacuums the extension's table that needs it most, if any does. */
static void
collector_vacuum(Collector *c)
{
	char	   *oid;

	if (!moment_is_past(c->vacuum_looked_at, VACUUM_PAUSE_MS))
		return;
	c->vacuum_looked_at = moment_now();
	oid = sql_value(next_table_sql, 0, NULL);
	if (!oid || !collector_is_free((Oid) strtoul(oid, NULL, 10)))
		return;
	vacuum_table(sql_value(table_name_sql, 1, (const char *const *) &oid));
}

void
collector_work(Collector *c)
{
	Moment		start = moment_now();

	Assert(!IsTransactionState());
	if (!moment_is_past(c->worked_at, c->worked_ms * REST))
		return;
	look_at_tombstones();
	if (TransactionIdIsValid(c->started) || TransactionIdIsValid(c->before))
		collector_collect(c, start);
	collector_vacuum(c);
	c->worked_at = moment_now();
	c->worked_ms = (int) ((c->worked_at - start) / 1000);
}
