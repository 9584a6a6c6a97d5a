/*
 * waiting_table.c
 *		Tables that wait: their arriving changes cannot be applied now, so that the link goes on
 *		without them.
 *
 * The owner of a table determines what writing a row of it involves, and whether the table exists.
 * So that the owner cannot stop a link by this, the table waits (receive/table_wait.c). Its changes
 * are kept (apply/keep.c), and applied in their order when that is possible again
 * (control/waiting/kept.c).
 *
 * The list is read once, and again after its table has changed: every change of the table
 * invalidates the list.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/table_key.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "catalog/waiting_table.h"

/* Columns of waiting_table. */
enum
{
	WAITING_SCHEMA = 1, WAITING_NAME, WAITING_NUMBER, WAITING_KEPT, WAITING_STABLE_XID
};

/* An entry, found by the table's name, as there may be very many. */
typedef struct Known
{
	TableKey	key;
	WaitingTable *table;
} Known;

static HTAB *known = NULL;		/* NULL: no table waits */

static enum
{
	LIST_STALE,					/* not read, or its table has changed since */
	LIST_BEGUN,					/* being read; stays so after an error */
	LIST_READ
} state = LIST_STALE;

static uint64 reading = 0;		/* number of readings of the list */
static Oid	list_relid = InvalidOid;	/* OID of the list's table */

void
waiting_tables_changed(Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(list_relid) || relid == list_relid)
		state = LIST_STALE;
}

/* Reads one entry. */
static WaitingTable *
read_entry(HeapTuple tuple, TupleDesc desc)
{
	WaitingTable *w = palloc(sizeof(WaitingTable));
	bool		isnull;

	w->schema = TextDatumGetCString(heap_getattr(tuple, WAITING_SCHEMA, desc, &isnull));
	w->name = TextDatumGetCString(heap_getattr(tuple, WAITING_NAME, desc, &isnull));
	w->number = DatumGetInt32(heap_getattr(tuple, WAITING_NUMBER, desc, &isnull));
	w->stable_xid = DatumGetInt64(heap_getattr(tuple, WAITING_STABLE_XID, desc, &isnull));
	w->kept = DatumGetBool(heap_getattr(tuple, WAITING_KEPT, desc, &isnull));
	return w;
}

/* Adds an entry to the hash table, in whose context its texts are too. */
static void
waiting_table_remember(HeapTuple tuple, TupleDesc desc)
{
	HASHCTL		ctl = {
		.keysize = sizeof(TableKey),.entrysize = sizeof(Known),.hcxt = TopMemoryContext
	};
	TableKey	key;
	MemoryContext old;
	WaitingTable *w;

	if (!known)
		known = hash_create("waiting tables", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	old = MemoryContextSwitchTo(GetMemoryChunkContext(known));
	w = read_entry(tuple, desc);
	MemoryContextSwitchTo(old);
	key = table_key(w->schema, w->name);
	((Known *) hash_search(known, &key, HASH_ENTER, NULL))->table = w;
}

/* Reads the list. */
static void
waiting_table_load(void)
{
	Oid			relid = extension_relation_oid(TABLE_WAITING_TABLE);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	Assert(IsTransactionState());
	if (known)
		hash_destroy(known);
	known = NULL;
	reading++;
	list_relid = relid;
	state = LIST_BEGUN;
	if (!OidIsValid(relid))
	{
		state = LIST_READ;
		return;					/* an older version of the extension */
	}
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		waiting_table_remember(tuple, RelationGetDescr(rel));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (state == LIST_BEGUN)	/* the table has not changed meanwhile */
		state = LIST_READ;
}

bool
waiting_tables(void)
{
	if (state != LIST_READ)
		waiting_table_load();
	return known != NULL;
}

uint64
waiting_tables_reading(void)
{
	return reading;
}

const WaitingTable *
waiting_table(const char *schema, const char *name)
{
	TableKey	key;
	Known	   *found;

	if (!waiting_tables())
		return NULL;
	key = table_key(schema, name);
	found = hash_search(known, &key, HASH_FIND, NULL);
	return found ? found->table : NULL;
}

const WaitingTable *
waiting_table_by_oid(Oid relid)
{
	Oid			root;
	char	   *schema;
	char	   *name;

	if (!waiting_tables())
		return NULL;
	root = table_root(relid);
	schema = get_namespace_name(get_rel_namespace(root));
	name = get_rel_name(root);
	return schema && name ? waiting_table(schema, name) : NULL;
}

const WaitingTable *
waiting_table_kept(Oid relid)
{
	char		kind = get_rel_relkind(relid);
	const WaitingTable *w;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return NULL;
	w = waiting_table(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
	return w && w->kept ? w : NULL;
}
