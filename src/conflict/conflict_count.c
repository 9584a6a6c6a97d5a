/*
 * conflict_count.c
 *		How many conflicts there were, by table, type and resolution.
 *
 * Conflicts are counted in memory and written once per transaction, by the transaction itself:
 * so they are counted exactly as often as they are applied, and a transaction with many
 * conflicts writes a row or two. Each link has rows of its own, so that no link worker ever
 * waits for another. The rows change with each transaction that has a conflict, by HOT
 * updates, for which the table's fillfactor leaves room.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog/names.h"
#include "conflict/conflict_count.h"

/* Columns of conflict_count, in order; the first four but the name are the key. */
enum
{
	COL_PROVIDER, COL_RELID, COL_TABLE_NAME, COL_TYPE, COL_RESOLUTION, COL_N, COL_LAST_AT,
	COL_NOT_LOGGED, N_COLS
};

/* What is counted apart; no padding, as it is hashed as it is. */
typedef struct CountKey
{
	Oid			relid;
	int32		type;
	int32		resolution;
} CountKey;

typedef struct Count
{
	CountKey	key;
	int64		n;
	int64		not_logged;
} Count;

/* Of the running transaction, in its memory; NULL: none. */
static HTAB *counts = NULL;

void
conflict_count_add(Oid relid, ConflictType type, ConflictResolution resolution, bool logged)
{
	CountKey	key = {relid, type, resolution};
	Count	   *c;
	bool		found;

	if (!counts)
	{
		HASHCTL		ctl = {.keysize = sizeof(CountKey),.entrysize = sizeof(Count),
			.hcxt = TopTransactionContext
		};

		counts = hash_create("conflicts", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	c = hash_search(counts, &key, HASH_ENTER, &found);
	if (!found)
		c->n = c->not_logged = 0;
	c->n++;
	if (!logged)
		c->not_logged++;
}

void
conflict_count_forget(void)
{
	counts = NULL;				/* the memory went with the transaction */
}

/* Finds the row of a key and copies it; NULL if there is none. */
static HeapTuple
find_row(Relation rel, Datum *values)
{
	static const AttrNumber columns[4] = {COL_PROVIDER, COL_RELID, COL_TYPE, COL_RESOLUTION};
	static const RegProcedure equal[4] = {F_INT4EQ, F_OIDEQ, F_TEXTEQ, F_TEXTEQ};
	ScanKeyData keys[4];
	SysScanDesc scan;
	HeapTuple	row;

	for (int i = 0; i < 4; i++)
	{
		ScanKeyInit(&keys[i], columns[i] + 1, BTEqualStrategyNumber, equal[i], values[columns[i]]);
		keys[i].sk_collation = TupleDescAttr(RelationGetDescr(rel), columns[i])->attcollation;
	}
	scan = systable_beginscan(rel, extension_relation_oid("conflict_count_pkey"), true, NULL, 4, keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	return row;
}

/* What a row has in one of its numbers. */
static int64
number_of(Relation rel, HeapTuple row, int column)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row, column + 1, RelationGetDescr(rel), &isnull));
}

/* Adds one count to the link's row for it. */
static void
write_count(Relation rel, NodeId provider, const Count *c)
{
	Oid			relid = c->key.relid;
	Datum		values[N_COLS];
	bool		nulls[N_COLS] = {false};
	bool		replace[N_COLS];
	HeapTuple	old;

	memset(replace, true, sizeof(replace));
	values[COL_PROVIDER] = Int32GetDatum(provider);
	values[COL_RELID] = ObjectIdGetDatum(relid);
	values[COL_TABLE_NAME] =
		CStringGetTextDatum(quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													   get_rel_name(relid)));
	values[COL_TYPE] = CStringGetTextDatum(conflict_type_name(c->key.type));
	values[COL_RESOLUTION] = CStringGetTextDatum(conflict_resolution_name(c->key.resolution));
	values[COL_LAST_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	old = find_row(rel, values);
	values[COL_N] = Int64GetDatum(c->n + (old ? number_of(rel, old, COL_N) : 0));
	values[COL_NOT_LOGGED] = Int64GetDatum(c->not_logged + (old ? number_of(rel, old, COL_NOT_LOGGED) : 0));
	if (old)
		CatalogTupleUpdate(rel, &old->t_self,
						   heap_modify_tuple(old, RelationGetDescr(rel), values, nulls, replace));
	else
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
}

void
conflict_count_write(NodeId provider)
{
	HASH_SEQ_STATUS seq;
	Count	   *c;
	Relation	rel;
	MemoryContext old;

	if (!counts)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	rel = table_open(extension_relation_oid("conflict_count"), RowExclusiveLock);
	hash_seq_init(&seq, counts);
	while ((c = hash_seq_search(&seq)) != NULL)
		write_count(rel, provider, c);
	table_close(rel, NoLock);
	counts = NULL;
	MemoryContextSwitchTo(old);
}
