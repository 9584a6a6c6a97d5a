/*
 * resend.c
 *		Sends this node's rows of a table to all other nodes: the two parts of resend_table() that
 *		SQL cannot do.
 *
 * Every row is deleted and inserted again, in one transaction. So it is sent as a whole (an update
 * would leave out large values that it does not change), and for a mergeable table it replaces
 * everything that the other nodes have of the key, merged columns included. The transaction runs in
 * replica role, so foreign keys and ordinary triggers of users do not act on it. Triggers that are
 * always enabled, checks and expressions run as the owner of the table.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "capture/capture.h"
#include "catalog/as_owner.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "merge/merge_table.h"
#include "sqlapi/argument.h"
#include "store/row_estate.h"
#include "store/tombstone.h"

PG_FUNCTION_INFO_V1(replication_plugin_resend_rows);
PG_FUNCTION_INFO_V1(replication_plugin_delete_key);

#define BATCH_ROWS	1000		/* between two rounds of AFTER triggers */

/* State for writing a table or partition row by row. */
typedef struct Writer
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *rri;
	EPQState	epq;
	int			n;				/* rows in the batch */
} Writer;

/* Begins to write to a table. */
static void
writer_begin(Writer *w, Relation rel)
{
	w->rel = rel;
	w->estate = row_estate(rel, &w->rri);
	InitResultRelInfo(w->rri, rel, 1, NULL, 0); /* with triggers */
	w->estate->es_opened_result_relations = list_make1(w->rri);
	ExecOpenIndices(w->rri, false);
	init_recheck(&w->epq, w->estate);
	w->n = 0;
}

/* Ends a batch: fires its AFTER triggers. */
static void
end_batch(Writer *w)
{
	if (w->n == 0)
		return;
	AfterTriggerEndQuery(w->estate);
	CommandCounterIncrement();
	w->n = 0;
}

/* Prepares for the next row; begins a batch if necessary. */
static void
before_row(Writer *w)
{
	CHECK_FOR_INTERRUPTS();
	if (w->n == BATCH_ROWS)
		end_batch(w);
	if (w->n++ == 0)
	{
		w->estate->es_output_cid = GetCurrentCommandId(true);
		AfterTriggerBeginQuery();
	}
}

/* Ends writing. */
static void
writer_end(Writer *w)
{
	end_batch(w);
	EvalPlanQualEnd(&w->epq);
	ExecCloseIndices(w->rri);
	ExecResetTupleTable(w->estate->es_tupleTable, false);
	FreeExecutorState(w->estate);
}

/* Deletes all rows of a table, and returns them. */
static Tuplestorestate *
resend_take_rows(Relation rel, uint64 *n)
{
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;
	Writer		w;

	writer_begin(&w, rel);
	PushActiveSnapshot(GetLatestSnapshot());
	scan = begin_table_scan(rel, GetActiveSnapshot());
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		before_row(&w);
		tuplestore_puttupleslot(rows, slot);
		ExecSimpleRelationDelete(w.rri, w.estate, &w.epq, slot);
		(*n)++;
	}
	table_endscan(scan);
	PopActiveSnapshot();
	writer_end(&w);
	ExecDropSingleTupleTableSlot(slot);
	return rows;
}

/* Inserts those rows, and frees them. */
static void
put_rows(Relation rel, Tuplestorestate *rows)
{
	TupleTableSlot *kept = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsMinimalTuple);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Writer		w;

	writer_begin(&w, rel);
	PushActiveSnapshot(GetLatestSnapshot());
	while (tuplestore_gettupleslot(rows, true, false, kept))
	{
		before_row(&w);
		ExecCopySlot(slot, kept);
		ExecSimpleRelationInsert(w.rri, w.estate, slot);
		ResetPerTupleExprContext(w.estate);
	}
	PopActiveSnapshot();
	writer_end(&w);
	ExecDropSingleTupleTableSlot(kept);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(rows);
}

/* Deletes and inserts all rows of one table or partition. Returns their number. */
static uint64
resend_rows(Oid relid)
{
	Relation	rel = table_open(relid, ShareRowExclusiveLock);
	OwnerContext saved = as_owner_begin(rel->rd_rel->relowner);
	uint64		n = 0;

	put_rows(rel, resend_take_rows(rel, &n));
	as_owner_end(saved);
	table_close(rel, NoLock);
	return n;
}

/* resend_rows(regclass) → bigint: the number of rows */
Datum
replication_plugin_resend_rows(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	int			nest = NewGUCNestLevel();
	List	   *relids = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ?
	find_all_inheritors(relid, ShareRowExclusiveLock, NULL) : list_make1_oid(relid);
	uint64		n = 0;
	ListCell   *lc;

	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* deferred triggers would fire after the role of the owner is left */
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
	foreach(lc, relids)
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION)
			n += resend_rows(lfirst_oid(lc));
	}
	AtEOXact_GUC(true, nest);
	PG_RETURN_INT64(n);
}

/* Reads a key from the text forms of its columns. */
static void
resend_read_key(Relation root, ArrayType *texts, Datum *key)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(root, &attnums);
	Datum	   *values;
	bool	   *nulls;
	int			nvalues;

	deconstruct_array(texts, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &nvalues);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(root), attnums[i] - 1);
		Oid			in;
		Oid			param;

		if (nvalues != n || nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a key of table \"%s\" has %d columns", RelationGetRelationName(root), n)));
		getTypeInputInfo(att->atttypid, &in, &param);
		key[i] = OidInputFunctionCall(in, TextDatumGetCString(values[i]), param, att->atttypmod);
	}
}

/* delete_key(regclass, key text[]) → void: deletes a key of which this node has no row */
Datum
replication_plugin_delete_key(PG_FUNCTION_ARGS)
{
	Relation	root = argument_table(PG_GETARG_OID(0), RowExclusiveLock);
	OwnerContext saved = as_owner_begin(root->rd_rel->relowner);
	Datum		key[INDEX_MAX_KEYS];

	resend_read_key(root, PG_GETARG_ARRAYTYPE_P(1), key);
	if (table_is_mergeable(root))
		capture_write_delete_parked(merge_table_open(root), root, key);
	else
		tombstone_write(tombstone_keys(root), key, true);
	as_owner_end(saved);
	table_close(root, NoLock);
	PG_RETURN_VOID();
}
