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
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

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
	char		name[2 * NAMEDATALEN];	/* hash key: schema and name */
	WaitingTable *table;
} Known;

static HTAB *known = NULL;		/* NULL: no table waits */
static MemoryContext context = NULL;
static bool valid = false;
static bool changed = false;	/* the list's table has changed while it is read */
static uint64 reading = 0;		/* number of readings of the list */
static Oid	list_relid = InvalidOid;	/* OID of the list's table */

/* Relcache callback: the list's table may have changed. */
static void
invalidate(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(list_relid) || relid == list_relid)
	{
		valid = false;
		changed = true;
	}
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

/* Computes the hash key of a table. */
static void
set_key(char *key, const char *schema, const char *name)
{
	memset(key, 0, 2 * NAMEDATALEN);
	strlcpy(key, schema, NAMEDATALEN);
	strlcpy(key + NAMEDATALEN, name, NAMEDATALEN);
}

/* Adds an entry to the hash table. */
static void
remember(WaitingTable *w)
{
	HASHCTL		ctl = {.keysize = 2 * NAMEDATALEN,.entrysize = sizeof(Known),.hcxt = context};
	char		key[2 * NAMEDATALEN];

	if (!known)
		known = hash_create("waiting tables", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	set_key(key, w->schema, w->name);
	((Known *) hash_search(known, key, HASH_ENTER, NULL))->table = w;
}

/* Reads the list. */
static void
load(void)
{
	Oid			relid = extension_relation_oid(TABLE_WAITING_TABLE);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	MemoryContext old;

	if (!context)
	{
		context = AllocSetContextCreate(TopMemoryContext, "waiting tables", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	}
	MemoryContextReset(context);
	known = NULL;
	reading++;
	list_relid = relid;
	changed = false;
	if (!OidIsValid(relid))
	{
		valid = !changed;
		return;					/* an older version of the extension */
	}
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	old = MemoryContextSwitchTo(context);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		remember(read_entry(tuple, RelationGetDescr(rel)));
	MemoryContextSwitchTo(old);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	valid = !changed;			/* stays false after an error, when the list is not complete */
}

bool
waiting_tables(void)
{
	if (!valid)
		load();
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
	char		key[2 * NAMEDATALEN];
	Known	   *found;

	if (!waiting_tables())
		return NULL;
	set_key(key, schema, name);
	found = hash_search(known, key, HASH_FIND, NULL);
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
