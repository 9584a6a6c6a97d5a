/*
 * write.c
 *		Writes one local row: heap, indexes, constraints, triggers.
 *
 * Everything that may run code of a user (triggers, expressions of indexes, constraints, generated
 * columns and domains) runs as the owner of the table, or of the leaf partition, in a
 * security-restricted context. Owning a table here must not give the rights of the replication
 * worker.
 *
 * The row is not locked before it is written. If another transaction has changed it first, the
 * table access method says so, and the caller searches again.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/context.h"
#include "apply/doubt.h"
#include "apply/image_index.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/pulse.h"
#include "base/session.h"
#include "store/tombstone.h"

OwnerContext
become_owner(ApplyRelation *ar)
{
	return ar->runs_code ? as_owner_begin_code(ar->owner) : as_owner_begin(ar->owner);
}

void
become_worker(OwnerContext saved)
{
	as_owner_end(saved);
}

void
write_generate(ApplyTarget *t, TupleTableSlot *slot)
{
	TupleConstr *constr = RelationGetDescr(t->rel)->constr;

	Assert(session_in_row());
	slot->tts_tableOid = t->relid;
	if (constr && constr->has_generated_stored)
		ExecComputeStoredGenerated(t->rri, t->estate, slot, CMD_INSERT);
}

/* Computes generated columns and checks constraints. */
static void
finish_row(ApplyTarget *t, TupleTableSlot *slot)
{
	TupleConstr *constr = RelationGetDescr(t->rel)->constr;

	write_generate(t, slot);
	if (constr)
		ExecConstraints(t->rri, slot, t->estate);
	if (t->rel->rd_rel->relispartition)
		ExecPartitionCheck(t->rri, slot, t->estate, true);
}

/* Prepares for one row of a table with triggers. */
static void
begin_triggers(ApplyTarget *t)
{
	/*
	 * Deferred triggers would fire at commit, when the owner is no longer the current user. Set
	 * them to immediate for each row, because a trigger of the previous row may have changed that.
	 */
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
	t->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
}

/* Marks the end of one row. heap: something was written that decoding sees. */
static void
row_written(ApplyRelation *ar, ApplyTarget *t, bool heap)
{
	ResetPerTupleExprContext(t->estate);
	CommandCounterIncrement();
	ar->cx->wrote = ar->cx->wrote || (heap && RelationIsLogicallyLogged(t->rel));
}

/*
 * Handles constraints that writing the row may have violated. Writing to the index of a deferrable
 * constraint does not check it, but returns which constraints are in doubt; the triggers that would
 * check them do not fire here. A doubt therefore counts as a violation, and place.c makes room as
 * for any other violation. In a table without a key, which cannot make room, doubts are checked at
 * the end of the transaction.
 */
static void
check_doubts(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot, List *doubts)
{
	if (doubts == NIL)
		return;
	if (ar->nkeys == 0)
	{
		doubt_note(ar->cx, t, &slot->tts_tid, doubts);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("a row of table \"%s\" may violate deferrable constraint \"%s\"", RelationGetRelationName(t->rel),
					get_rel_name(linitial_oid(doubts)))));
}

void
write_insert(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot)
{
	OwnerContext saved;
	TriggerDesc *triggers = t->rri->ri_TrigDesc;
	bool		heap = false;

	Assert(t->rel && IsTransactionState());
	tombstone_flush();
	saved = target_become_owner(t);
	if (triggers)
		begin_triggers(t);
	if (!triggers || !triggers->trig_insert_before_row ||
		ExecBRInsertTriggers(t->estate, t->rri, slot))
	{
		heap = true;
		finish_row(t, slot);
		table_tuple_insert(t->rel, slot, GetCurrentCommandId(true), 0, NULL);
		if (t->nindexes > 0)
			check_doubts(ar, t, slot, insert_index_entries(t->rri, slot, t->estate));
		if (triggers)
			ExecARInsertTriggers(t->estate, t->rri, slot, NIL, NULL);
	}
	if (triggers)
		AfterTriggerEndQuery(t->estate);
	as_owner_end(saved);
	if (heap && ar->nkeys == 0)
		image_index_add(ar, t, slot);
	row_written(ar, t, heap);
}

/*
 * Locks a row for BEFORE triggers, which must see the row that is replaced. Without such triggers
 * the write itself determines whether the row is still current.
 */
static WriteResult
lock_for_triggers(ApplyTarget *t, ItemPointer tid)
{
	TM_FailureData failure;
	TM_Result	result;
	TupleTableSlot *slot = ExecGetTriggerOldSlot(t->estate, t->rri);
	Snapshot	snapshot = begin_latest_snapshot();

	result = table_tuple_lock(t->rel, tid, snapshot, slot, GetCurrentCommandId(false),
							  LockTupleExclusive, LockWaitBlock, 0, &failure);
	end_latest_snapshot(snapshot);
	ExecClearTuple(slot);
	return result == TM_Ok ? WRITE_DONE : WRITE_AGAIN;
}

/* Maps the result of a write to what the caller has to do. */
static WriteResult
write_result(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return WRITE_DONE;
		case TM_Updated:
		case TM_Deleted:
			return WRITE_AGAIN;
		case TM_SelfModified:
		case TM_Invisible:
		case TM_BeingModified:
		case TM_WouldBlock:
			break;
	}
	elog(ERROR, "unexpected result %d of writing a row", result);
	return WRITE_AGAIN;
}

/* Replaces the row; the caller has run BEFORE triggers and checked constraints. */
static WriteResult
update_heap(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot)
{
	TM_FailureData failure;
	LockTupleMode mode;
	IndexUpdates update_indexes;
	WriteResult result;

	result = write_result(update_tuple(t->rel, &t->found->tts_tid, slot, GetCurrentCommandId(true),
									   &failure, &mode, &update_indexes));
	if (result == WRITE_AGAIN)
		return result;
	if (t->nindexes > 0 && needs_index_entries(update_indexes))
		check_doubts(ar, t, slot,
					 insert_index_entries_of_update(t->rri, slot, t->estate, update_indexes));
	if (t->rri->ri_TrigDesc)
		ExecARUpdateTriggers(t->estate, t->rri, NULL, NULL, &t->found->tts_tid, NULL, slot,
							 NIL, NULL, false);
	return WRITE_DONE;
}

WriteResult
write_update(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot)
{
	OwnerContext saved;
	TriggerDesc *triggers = t->rri->ri_TrigDesc;
	WriteResult result = WRITE_DONE;
	bool		heap = false;
	EPQState	epq;

	Assert(t->rel && !TTS_EMPTY(t->found) && ItemPointerIsValid(&t->found->tts_tid));
	tombstone_flush();
	saved = target_become_owner(t);
	if (triggers && triggers->trig_update_before_row)
		result = lock_for_triggers(t, &t->found->tts_tid);
	if (result == WRITE_DONE)
	{
		if (triggers)
		{
			begin_triggers(t);
			init_recheck(&epq, t->estate);
		}
		if (!triggers || !triggers->trig_update_before_row ||
			before_update_triggers(t->estate, &epq, t->rri, &t->found->tts_tid, slot))
		{
			finish_row(t, slot);
			result = update_heap(ar, t, slot);
			heap = result == WRITE_DONE;
		}
		if (triggers)
		{
			AfterTriggerEndQuery(t->estate);
			EvalPlanQualEnd(&epq);
		}
	}
	as_owner_end(saved);
	if (heap && ar->nkeys == 0)
		image_index_add(ar, t, slot);
	row_written(ar, t, heap);
	return result;
}

WriteResult
write_delete(ApplyRelation *ar, ApplyTarget *t, ItemPointer tid)
{
	OwnerContext saved = target_become_owner(t);
	TriggerDesc *triggers = t->rri->ri_TrigDesc;
	WriteResult result = WRITE_DONE;
	TM_FailureData failure;
	bool		heap = false;
	EPQState	epq;

	Assert(t->rel && ItemPointerIsValid(tid));
	if (triggers && triggers->trig_delete_before_row)
		result = lock_for_triggers(t, tid);
	if (result == WRITE_DONE)
	{
		if (triggers)
		{
			begin_triggers(t);
			init_recheck(&epq, t->estate);
		}
		if (!triggers || !triggers->trig_delete_before_row ||
			before_delete_triggers(t->estate, &epq, t->rri, tid))
		{
			result = write_result(delete_tuple(t->rel, tid, GetCurrentCommandId(true),
											   InvalidSnapshot, &failure));
			heap = result == WRITE_DONE;
			if (heap && triggers)
				ExecARDeleteTriggers(t->estate, t->rri, tid, NULL, NULL, false);
		}
		if (triggers)
		{
			AfterTriggerEndQuery(t->estate);
			EvalPlanQualEnd(&epq);
		}
	}
	as_owner_end(saved);
	row_written(ar, t, heap);
	return result;
}

bool
write_can_gather(ApplyTarget *t)
{
	return t->rri->ri_TrigDesc == NULL && !t->rel->rd_rel->relispartition;
}

void
write_insert_many(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot **slots, int n)
{
	OwnerContext saved;

	Assert(t->rel && n > 0 && write_can_gather(t));
	tombstone_flush();
	saved = target_become_owner(t);
	for (int i = 0; i < n; i++)
	{
		finish_row(t, slots[i]);
		pulse_step();
	}
	table_multi_insert(t->rel, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n && t->nindexes > 0; i++)
	{
		check_doubts(ar, t, slots[i], insert_index_entries(t->rri, slots[i], t->estate));
		ResetPerTupleExprContext(t->estate);
		pulse_step();
	}
	as_owner_end(saved);
	for (int i = 0; i < n && ar->nkeys == 0; i++)
		image_index_add(ar, t, slots[i]);
	row_written(ar, t, true);
}
