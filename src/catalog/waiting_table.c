/*
 * waiting_table.c
 *		Tables of which arriving rows are passed over, as they cannot be applied here, so that all others go on.
 *
 * The owner of a table decides what it takes to write a row of it, and whether it exists. So that he cannot stop a link with that, his table
 * waits instead (receive/table_wait.c): it is out of step until resend_table() has given its rows anew.
 *
 * The names are read once, and again after the table of them has changed: whoever changes it sends an invalidation of it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog/names.h"
#include "catalog/waiting_table.h"

/* Columns of the table. */
enum
{
	WAITING_SCHEMA = 1, WAITING_NAME
};

static List *known = NIL;		/* schema, name, schema, name ... */
static MemoryContext context = NULL;
static bool valid = false;
static Oid	names_relid = InvalidOid;	/* the table of names */

/* The table of names may have changed. */
static void
invalidate(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(names_relid) || relid == names_relid)
		valid = false;
}

/* Reads the names. */
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
	known = NIL;
	valid = true;				/* what comes while it is read counts again */
	names_relid = relid;
	if (!OidIsValid(relid))
		return;					/* an older version */
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	old = MemoryContextSwitchTo(context);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		known = lappend(known, TextDatumGetCString(heap_getattr(tuple, WAITING_SCHEMA, RelationGetDescr(rel), &isnull)));
		known = lappend(known, TextDatumGetCString(heap_getattr(tuple, WAITING_NAME, RelationGetDescr(rel), &isnull)));
	}
	MemoryContextSwitchTo(old);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

bool
waiting_tables(void)
{
	if (!valid)
		load();
	return known != NIL;
}

bool
waiting_table(const char *schema, const char *name)
{
	if (!waiting_tables())
		return false;
	for (int i = 0; i + 1 < list_length(known); i += 2)
	{
		if (strcmp(list_nth(known, i + 1), name) == 0 && strcmp(list_nth(known, i), schema) == 0)
			return true;
	}
	return false;
}
