/*
 * rewrite_known.c
 *		Table table_rewrite: the transactions that have rewritten the rows of a table.
 *
 * The table is almost always empty. An entry is deleted when its transaction is stable
 * (control/group/group_worker.c), because nothing concurrent with the rows can arrive then. Each
 * process therefore caches the whole table, and rereads it when it has changed.
 *
 * The command number distinguishes copies from rows that the same transaction wrote later.
 * PostgreSQL overwrites that number when an update of the row is rolled back. The new number then
 * determines whether the row counts as a copy, until the row is written again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/full_xid.h"
#include "catalog/names.h"
#include "store/rewrite_known.h"

/* Columns. */
enum
{
	ATT_RELID = 1, ATT_XID, ATT_BEFORE_CID,
	N_ATTS = ATT_BEFORE_CID
};

typedef struct Rewrite
{
	Oid			relid;
	TransactionId xid;
	CommandId	before;			/* rows of earlier commands are copies */
} Rewrite;

/* The cache of this process. */
static struct
{
	bool		valid;
	bool		changed;		/* since the table was last read */
	Oid			table;
	int			n;
	Rewrite    *items;			/* in TopMemoryContext */
} known;

void
rewrite_known_table_changed(Oid relid)
{
	/* of a table that did not exist, any new one may be it */
	if (relid == InvalidOid || relid == known.table || !OidIsValid(known.table))
	{
		known.valid = false;
		known.changed = true;
	}
}

/* Reads the table. */
static void
read_table(void)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Snapshot	snapshot;

	known.n = 0;
	known.table = extension_relation_oid(TABLE_TABLE_REWRITE);
	known.changed = false;
	if (!OidIsValid(known.table))
	{
		known.valid = !known.changed;
		return;
	}
	rel = table_open(known.table, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		TupleDesc	desc = RelationGetDescr(rel);
		Size		size = (known.n + 1) * sizeof(Rewrite);

		known.items =
			known.items ? repalloc(known.items, size) : MemoryContextAlloc(TopMemoryContext, size);
		known.items[known.n++] = (Rewrite) {
			DatumGetObjectId(heap_getattr(tuple, ATT_RELID, desc, &isnull)),
			(TransactionId) DatumGetInt64(heap_getattr(tuple, ATT_XID, desc, &isnull)),
			(CommandId) DatumGetInt64(heap_getattr(tuple, ATT_BEFORE_CID, desc, &isnull))
		};
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	known.valid = !known.changed;	/* stays false after an error, when the list is not complete */
}

bool
rewrite_is_known(Oid relid, TransactionId xmin, CommandId cmin)
{
	if (!known.valid)
		read_table();
	for (int i = 0; i < known.n; i++)
	{
		if (known.items[i].xid == xmin && known.items[i].relid == relid &&
			cmin < known.items[i].before)
			return true;
	}
	return false;
}

/* Adds a row to the table. */
static void
make_known(Oid relid, TransactionId xid, CommandId before)
{
	Relation	rel = table_open(extension_relation_oid(TABLE_TABLE_REWRITE), RowExclusiveLock);
	Datum		values[N_ATTS];
	bool		nulls[N_ATTS] = {0};

	values[ATT_RELID - 1] = ObjectIdGetDatum(relid);
	values[ATT_XID - 1] = Int64GetDatum((int64) full_xid_of(xid));
	values[ATT_BEFORE_CID - 1] = Int64GetDatum((int64) before);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

void
rewrite_make_known(Oid relid)
{
	CommandCounterIncrement();
	make_known(relid, GetCurrentTransactionId(), GetCurrentCommandId(true));
}

void
rewrite_make_writer_known(Oid relid, TransactionId writer)
{
	make_known(relid, writer, InvalidCommandId);
}
