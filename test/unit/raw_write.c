/*
 * raw_write.c
 *		Writes to tables as code does that knows of no triggers.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"

PG_FUNCTION_INFO_V1(raw_delete);
PG_FUNCTION_INFO_V1(raw_copy);

/* raw_delete(table, place): deletes a row. */
Datum
raw_delete(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(PG_GETARG_OID(0), RowExclusiveLock);

	simple_table_tuple_delete(rel, (ItemPointer) PG_GETARG_POINTER(1), GetActiveSnapshot());
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* raw_copy(from, to): inserts the rows of one table into another of the same columns. */
Datum
raw_copy(PG_FUNCTION_ARGS)
{
	Relation	from = table_open(PG_GETARG_OID(0), AccessShareLock);
	Relation	to = table_open(PG_GETARG_OID(1), RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(from, NULL);
	TupleTableSlot *copy = table_slot_create(to, NULL);
	TableScanDesc scan = begin_table_scan(from, GetActiveSnapshot());
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *rri = makeNode(ResultRelInfo);

	InitResultRelInfo(rri, to, 1, NULL, 0);
	ExecOpenIndices(rri, false);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		ExecCopySlot(copy, slot);
		simple_table_tuple_insert(to, copy);
		(void) insert_index_entries(rri, copy, estate);
	}
	table_endscan(scan);
	ExecCloseIndices(rri);
	FreeExecutorState(estate);
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(copy);
	table_close(from, NoLock);
	table_close(to, NoLock);
	PG_RETURN_VOID();
}
