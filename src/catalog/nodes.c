/*
 * nodes.c
 *		Typed access to the tables local_node, member, member_ready and removal.
 *
 * The tables are small and rarely read. Values that hot paths need are cached (nodes_local_id()).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/own_transaction.h"
#include "catalog/agreement.h"
#include "catalog/group_setting.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "wire/protocol.h"

/* Columns of local_node. */
enum
{
	LOCAL_ONLY_ONE = 1,
	LOCAL_GROUP_ID,
	LOCAL_GROUP_NAME,
	LOCAL_NODE_ID,
	LOCAL_NODE_NAME,
	LOCAL_DSN,
	LOCAL_STATE,
	LOCAL_SOURCE_ID,
	LOCAL_SOURCE_DSN,
	LOCAL_COPY_SCHEMA,
	LOCAL_COPY_DATA,
	LOCAL_ADD_FRONTIER,
	LOCAL_SCHEMA_COPIED,
	LOCAL_PROGRESS,
	LOCAL_LAST_ERROR,
	LOCAL_LAST_ERROR_AT,
	LOCAL_FAILURES,
	LOCAL_SINCE_XID,
	LOCAL_INCARNATION = 21,
	LOCAL_RUN_TOKEN,
	LOCAL_RUN_START,
	LOCAL_ANNOUNCED = 25,
	LOCAL_COPY_OF,
	LOCAL_COPY_SINCE,
	LOCAL_FAILED_STATE
};

/* Columns of member. The node's number is also the first column of member_ready and removal. */
enum
{
	NODE_ID = 1, NODE_NAME, NODE_DSN, NODE_ADD_FRONTIER
};

typedef struct CachedNode
{
	NodeId		id; /* INVALID_NODE_ID: in no group; of those below: nothing is cached */
	uint64		since_xid;
	NodeId		copy_of;
	uint64		copy_since;
	NodeRun		run;
	char		name[NAMEDATALEN * 4];
	char		state[64];
} CachedNode;

#define ID_NOT_READ		((NodeId) PG_INT32_MIN)
#define ID_BEING_READ	((NodeId) (PG_INT32_MIN + 1))

static CachedNode cache = {.id = ID_NOT_READ};

/* Calls a function for each row of one of the extension's tables. */
static void
for_each_row(const char *table, void (*callback) (HeapTuple, TupleDesc, void *), void *arg)
{
	Oid			relid = extension_relation_oid(table);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(relid))
		return;
	rel = table_open(relid, AccessShareLock);
	/* a catalog snapshot, which is new, and leaves a transaction that has none without one */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		callback(tuple, RelationGetDescr(rel), arg);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Returns a text column, palloc'd; NULL if null. */
static char *
get_text(HeapTuple tuple, TupleDesc desc, int att)
{
	bool		isnull;
	Datum		d = heap_getattr(tuple, att, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(d);
}

/* Returns an integer column; 0 if null. */
static int
get_int(HeapTuple tuple, TupleDesc desc, int att)
{
	bool		isnull;
	Datum		d = heap_getattr(tuple, att, desc, &isnull);

	return isnull ? 0 : DatumGetInt32(d);
}

/* Reads of the row of local_node which run of the server of which group it tells. */
static NodeRun
read_run(HeapTuple tuple, TupleDesc desc)
{
	NodeRun		run = {0};
	bool		isnull;

	memcpy(run.group, DatumGetUUIDP(heap_getattr(tuple, LOCAL_GROUP_ID, desc, &isnull))->data,
		   UUID_LEN);
	run.node = get_int(tuple, desc, LOCAL_NODE_ID);
	run.number = DatumGetInt64(heap_getattr(tuple, LOCAL_INCARNATION, desc, &isnull));
	run.token = DatumGetInt64(heap_getattr(tuple, LOCAL_RUN_TOKEN, desc, &isnull));
	run.start = DatumGetLSN(heap_getattr(tuple, LOCAL_RUN_START, desc, &isnull));
	return run;
}

/* Reads the row of local_node. */
static void
nodes_read_local(HeapTuple tuple, TupleDesc desc, void *arg)
{
	LocalNode  *n = palloc0(sizeof(LocalNode));
	bool		isnull;

	n->group_id = DatumGetCString(
		DirectFunctionCall1(uuid_out, heap_getattr(tuple, LOCAL_GROUP_ID, desc, &isnull)));
	n->group_name = get_text(tuple, desc, LOCAL_GROUP_NAME);
	n->node_id = get_int(tuple, desc, LOCAL_NODE_ID);
	n->node_name = get_text(tuple, desc, LOCAL_NODE_NAME);
	n->dsn = get_text(tuple, desc, LOCAL_DSN);
	n->state = get_text(tuple, desc, LOCAL_STATE);
	n->source_id = get_int(tuple, desc, LOCAL_SOURCE_ID);
	n->source_dsn = get_text(tuple, desc, LOCAL_SOURCE_DSN);
	n->copy_schema = DatumGetBool(heap_getattr(tuple, LOCAL_COPY_SCHEMA, desc, &isnull));
	n->copy_data = DatumGetBool(heap_getattr(tuple, LOCAL_COPY_DATA, desc, &isnull));
	n->since_xid = DatumGetInt64(heap_getattr(tuple, LOCAL_SINCE_XID, desc, &isnull));
	n->announced = DatumGetBool(heap_getattr(tuple, LOCAL_ANNOUNCED, desc, &isnull));
	n->run = read_run(tuple, desc);
	n->copy_of = get_int(tuple, desc, LOCAL_COPY_OF);
	n->copy_since = heap_attisnull(tuple, LOCAL_COPY_SINCE, desc) ? 0 :
		DatumGetInt64(heap_getattr(tuple, LOCAL_COPY_SINCE, desc, &isnull));
	/* the column is missing before an update of the extension */
	n->failed_state =
		desc->natts >= LOCAL_FAILED_STATE ? get_text(tuple, desc, LOCAL_FAILED_STATE) : NULL;
	*(LocalNode **) arg = n;
}

LocalNode *
nodes_local(void)
{
	LocalNode  *n = NULL;

	for_each_row(TABLE_LOCAL_NODE, nodes_read_local, &n);
	return n;
}

/* The trigger of local_node invalidates its table when the row changes. */
void
nodes_table_changed(Oid relid)
{
	cache.id = ID_NOT_READ;
}

/*
 * Fills the cache unless it is valid. What has changed while it was read is read again: to open the
 * tables, PostgreSQL may have waited for who changes them.
 */
static void
load_cache(void)
{
	LocalNode  *n;
	char	   *version;
	int			protocol;

	if (cache.id != ID_NOT_READ && cache.id != ID_BEING_READ)
		return;
	do
	{
		cache.id = ID_BEING_READ;
		n = nodes_local();
		version = n ? extension_version() : NULL;
		protocol = n ? group_protocol() : WIRE_PROTOCOL_VERSION;
	} while (cache.id != ID_BEING_READ);
	memset(&cache, 0, sizeof(cache));
	cache.id = INVALID_NODE_ID;
	if (n)
	{
		cache.id = n->node_id;
		cache.since_xid = n->since_xid;
		cache.copy_of = n->copy_of;
		cache.copy_since = n->copy_since;
		cache.run = n->run;
		strlcpy(cache.name, n->node_name, sizeof(cache.name));
		strlcpy(cache.state,
				strcmp(n->state, "ready") == 0 && !n->announced ? "joining: announced" : n->state,
				sizeof(cache.state));
		if (version && strcmp(version, EXTENSION_VERSION) != 0)
			snprintf(cache.state, sizeof(cache.state), NODE_OTHER_VERSION "%s", version);
		else if (strncmp(n->state, "joining", 7) == 0)
			;					/* it takes no writes, and may not have the group's settings yet */
		else if (protocol < WIRE_PROTOCOL_OLDEST || protocol > WIRE_PROTOCOL_VERSION)
			snprintf(cache.state, sizeof(cache.state), NODE_OTHER_PROTOCOL "%d", protocol);
	}
}

NodeId
nodes_local_id(void)
{
	load_cache();
	return cache.id;
}

uint64
nodes_local_since_xid(void)
{
	load_cache();
	return cache.since_xid;
}

NodeId
nodes_local_copy_of(uint64 *since)
{
	load_cache();
	*since = cache.copy_since;
	return cache.copy_of;
}

const NodeRun *
nodes_local_run(void)
{
	load_cache();
	return &cache.run;
}

bool
nodes_local_in_group(void)
{
	load_cache();
	return cache.id != INVALID_NODE_ID && strcmp(cache.state, "left") != 0;
}

const char *
nodes_local_refusal(void)
{
	load_cache();
	if (cache.id == INVALID_NODE_ID || strcmp(cache.state, "ready") == 0 ||
		strcmp(cache.state, "left") == 0)
		return NULL;
	return cache.state;
}

const char *
nodes_local_name(void)
{
	load_cache();
	return cache.name;
}

/* Reads a row of member. */
static void
read_member(HeapTuple tuple, TupleDesc desc, void *arg)
{
	NodeRow    *n = palloc0(sizeof(NodeRow));

	n->node_id = get_int(tuple, desc, NODE_ID);
	n->node_name = get_text(tuple, desc, NODE_NAME);
	n->dsn = get_text(tuple, desc, NODE_DSN);
	n->state = "joining";
	n->add_frontier = get_text(tuple, desc, NODE_ADD_FRONTIER);
	*(List **) arg = lappend(*(List **) arg, n);
}

/* Compares nodes by number. */
static int
compare_nodes(const ListCell *a, const ListCell *b)
{
	return ((NodeRow *) lfirst(a))->node_id - ((NodeRow *) lfirst(b))->node_id;
}

typedef struct StateChange
{
	List	   *nodes;
	const char *state;
} StateChange;

/* Reads a row of member_ready or removal, which sets the state of a node. */
static void
read_state(HeapTuple tuple, TupleDesc desc, void *arg)
{
	StateChange *change = arg;
	ListCell   *lc;

	foreach(lc, change->nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == get_int(tuple, desc, NODE_ID))
			n->state = change->state;
	}
}

List *
nodes_all(void)
{
	List	   *all = NIL;
	ListCell   *lc;
	StateChange change;

	for_each_row(TABLE_MEMBER, read_member, &all);
	change = (StateChange) {all, "ready"};
	for_each_row(TABLE_MEMBER_READY, read_state, &change);
	change.state = "removed";
	for_each_row(TABLE_REMOVAL, read_state, &change);
	list_sort(all, compare_nodes);
	foreach(lc, all)
	{
		NodeRow    *n = lfirst(lc);
		char	   *moved = group_setting(psprintf(GROUP_SETTING_NODE_DSN, n->node_id));

		n->dsn = moved ? moved : n->dsn;
	}
	return all;
}

/* Returns the node with a number in a list; NULL if it is not there. */
static NodeRow *
node_in(List *nodes, NodeId id)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == id)
			return n;
	}
	return NULL;
}

List *
nodes_others(NodeId *me)
{
	List	   *others = NIL;
	ListCell   *lc;
	NodeId		local;
	OwnTransaction t = own_transaction_begin_sql();

	MemoryContextSwitchTo(t.context);
	local = nodes_local_id();
	foreach(lc, nodes_all())
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id != local && strcmp(n->state, "removed") != 0)
			others = lappend(others, n);
	}
	own_transaction_end(&t);
	if (me)
		*me = local;
	return others;
}

NodeRow *
nodes_by_id(NodeId id)
{
	return node_in(nodes_all(), id);
}

const char *
nodes_name_in(List *nodes, NodeId id)
{
	NodeRow    *n = node_in(nodes, id);

	return n ? n->node_name : "?";
}

NodeRow *
nodes_by_name(const char *name)
{
	ListCell   *lc;
	NodeRow    *best = NULL;

	/* a removed node may have had the name before: the newest node counts */
	foreach(lc, nodes_all())
	{
		NodeRow    *n = lfirst(lc);

		if (strcmp(n->node_name, name) == 0 &&
			(!best || strcmp(best->state, "removed") == 0 || strcmp(n->state, "removed") != 0))
			best = n;
	}
	return best;
}
