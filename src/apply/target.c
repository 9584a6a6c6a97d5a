/*
 * target.c
 *		Local tables to which rows are written, with cached executor state.
 *
 * Building an EState, a ResultRelInfo, slots and scan keys costs more than writing a row. They are
 * therefore kept as long as the definition of the table stays the same: a relcache invalidation
 * marks the target, and the next transaction rebuilds it. Each transaction locks and opens the
 * relations again, and closes them before commit.
 *
 * Invariants: t->rel is not NULL only inside a transaction. Slots keep no buffer pinned across
 * transactions. Tuple descriptors are copies, so that no resource owner counts them.
 *
 * Triggers fire as in replica role, except the capture triggers of the extension, because applying
 * writes the tombstones.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "apply/target.h"
#include "base/compat.h"
#include "capture/capture.h"
#include "catalog/as_owner.h"
#include "catalog/table_code.h"
#include "store/key_search.h"

#define MAX_TARGETS		256		/* limit of cached targets; each takes about 30 kB */

/* A cache that all appliers of the process share; it can be discarded between transactions. */
static HTAB *targets = NULL;
static uint64 transactions = 0; /* counted when they end */

/*
 * The targets that are open in the current transaction, of which a process has only one; in
 * TopMemoryContext.
 */
static List *open_targets = NIL;

void
target_table_changed(Oid relid)
{
	HASH_SEQ_STATUS seq;
	ApplyTarget *t;

	if (!targets)
		return;
	hash_seq_init(&seq, targets);
	while ((t = hash_seq_search(&seq)) != NULL)
	{
		if (relid == InvalidOid || t->relid == relid)
			t->valid = false;
		for (int i = 0; t->valid && i < t->nindexes; i++)
		{
			if (t->index_oids[i] == relid)
				t->valid = false;
		}
	}
}

/* Creates the empty hash table of targets. */
static void
create_table_of_targets(void)
{
	HASHCTL		ctl = {
		.keysize = sizeof(Oid),.entrysize = sizeof(ApplyTarget),.hcxt = TopMemoryContext
	};

	targets = hash_create("apply targets", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Removes all triggers except those that fire in replica role and are not the extension's own. */
static void
filter_triggers(ResultRelInfo *rri)
{
	TriggerDesc *desc = rri->ri_TrigDesc;
	int			n = 0;

	if (!desc)
		return;
	for (int i = 0; i < desc->numtriggers; i++)
	{
		Trigger    *t = &desc->triggers[i];

		if (t->tgenabled != TRIGGER_FIRES_ALWAYS && t->tgenabled != TRIGGER_FIRES_ON_REPLICA)
			continue;
		if (t->tgisinternal && capture_is_own_function(t->tgfoid))
			continue;
		desc->triggers[n] = *t;

		/* looked up here, so that the function's cached state lives as long as the target */
		fmgr_info_cxt(t->tgfoid, &rri->ri_TrigFunctions[n], CurrentMemoryContext);
		n++;
	}
	desc->numtriggers = n;
	if (n == 0)
		rri->ri_TrigDesc = NULL;
}

/* Creates the executor state of a table. */
static void
build_estate(ApplyTarget *t)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	Bitmapset  *all = NULL;

	rte->rtekind = RTE_RELATION;
	rte->relid = t->relid;
	rte->relkind = t->rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	for (int att = 1; att <= RelationGetNumberOfAttributes(t->rel); att++)
		all = bms_add_member(all, att - FirstLowInvalidHeapAttributeNumber);
	t->estate = CreateExecutorState();
	init_range_table(t->estate, rte, all);
	t->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(t->rri, t->rel, 1, NULL, 0);
	filter_triggers(t->rri);
	t->estate->es_opened_result_relations = list_make1(t->rri);
}

/* Collects the indexes, which each transaction opens. */
static void
target_build_indexes(ApplyTarget *t, Oid key_index)
{
	List	   *oids = RelationGetIndexList(t->rel);
	ListCell   *lc;
	int			i = 0;

	t->nindexes = list_length(oids);
	t->index_oids = palloc0(Max(t->nindexes, 1) * sizeof(Oid));
	t->rri->ri_NumIndices = t->nindexes;
	t->rri->ri_IndexRelationDescs = palloc0(Max(t->nindexes, 1) * sizeof(Relation));
	t->rri->ri_IndexRelationInfo = palloc0(Max(t->nindexes, 1) * sizeof(IndexInfo *));
	t->key_index = -1;
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		t->index_oids[i] = lfirst_oid(lc);
		t->rri->ri_IndexRelationInfo[i] = BuildIndexInfo(index);
		if (lfirst_oid(lc) == key_index)
			t->key_index = i;
		index_close(index, NoLock);
		i++;
	}
	list_free(oids);
	if (OidIsValid(key_index) && t->key_index < 0)
		elog(ERROR, "key index %u of table \"%s\" is gone", key_index,
			 RelationGetRelationName(t->rel));
}

/* Prepares the scan keys of the key's index; each search fills in its values. */
static void
build_scan_keys(ApplyTarget *t)
{
	Relation	index;

	t->nkeys = 0;				/* there may have been a key before */
	if (t->key_index < 0)
		return;
	index = index_open(t->index_oids[t->key_index], RowExclusiveLock);
	t->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	t->key_attnums = palloc(t->nkeys * sizeof(AttrNumber));
	t->skeys = palloc0(t->nkeys * sizeof(ScanKeyData));
	for (int i = 0; i < t->nkeys; i++)
	{
		t->key_attnums[i] = index->rd_index->indkey.values[i];
		key_search_column(&t->skeys[i], index, i, (Datum) 0);
	}
	index_close(index, NoLock);
}

/* Builds everything about a table that is open. */
static void
target_build(ApplyTarget *t, Oid key_index, Relation root)
{
	MemoryContext old;

	if (t->context)
		MemoryContextDelete(t->context);
	/* a child of the hash table's context, and so deleted with the table */
	t->context = AllocSetContextCreate(GetMemoryChunkContext(targets), "apply target",
									   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(t->context);
	t->runs_code = table_runs_code(t->rel);
	build_estate(t);
	target_build_indexes(t, key_index);
	build_scan_keys(t);
	{
		TupleDesc	desc = CreateTupleDescCopyConstr(RelationGetDescr(t->rel));

		t->found = MakeSingleTupleTableSlot(desc, table_slot_callbacks(t->rel));
		t->newslot = MakeSingleTupleTableSlot(desc, table_slot_callbacks(t->rel));
		t->from_root = t->to_root = NULL;
		if (root)
		{
			TupleDesc	rootdesc = CreateTupleDescCopyConstr(RelationGetDescr(root));

			t->from_root = convert_tuples_by_name(rootdesc, desc);
			t->to_root = convert_tuples_by_name(desc, rootdesc);
		}
	}
	t->scan = NULL;
	t->valid = true;
	MemoryContextSwitchTo(old);
}

OwnerContext
target_become_owner(const ApplyTarget *t)
{
	return t->runs_code ? as_owner_begin_code(t->owner) : as_owner_begin(t->owner);
}

ApplyTarget *
target_open_already(Oid relid)
{
	ApplyTarget *t = targets ? hash_search(targets, &relid, HASH_FIND, NULL) : NULL;

	return t && t->rel ? t : NULL;
}

ApplyTarget *
target_get(Oid relid, Oid key_index, Relation root)
{
	ApplyTarget *t;
	bool		found;
	MemoryContext old;

	if (!targets)
		create_table_of_targets();
	t = hash_search(targets, &relid, HASH_ENTER, &found);
	if (!found)
		memset((char *) t + sizeof(Oid), 0, sizeof(ApplyTarget) - sizeof(Oid));
	Assert(IsTransactionState());
	if (t->rel)
		return t;
	Assert(!t->scan);
	t->rel = table_open(relid, RowExclusiveLock);
	t->owner = root ? as_owner_of_leaf(root->rd_rel->relowner, t->rel->rd_rel->relowner)
					: t->rel->rd_rel->relowner;
	if (!t->valid || t->rri->ri_RelationDesc != t->rel)
	{
		/* planning expressions of indexes may run functions */
		OwnerContext saved = as_owner_begin_code(t->owner);

		target_build(t, key_index, root);
		as_owner_end(saved);
	}
	for (int i = 0; i < t->nindexes; i++)
		t->rri->ri_IndexRelationDescs[i] = index_open(t->index_oids[i], RowExclusiveLock);
	Assert(!list_member_ptr(open_targets, t));
	t->used = transactions;
	old = MemoryContextSwitchTo(TopMemoryContext);
	open_targets = lappend(open_targets, t);
	MemoryContextSwitchTo(old);
	return t;
}

/* Discards the targets that recent transactions have not used. If too many remain, discards all. */
static void
forget_old_targets(void)
{
	HASH_SEQ_STATUS seq;
	ApplyTarget *t;

	Assert(open_targets == NIL);
	hash_seq_init(&seq, targets);
	while ((t = hash_seq_search(&seq)) != NULL)
	{
		Assert(!t->rel);
		if (t->used + MAX_TARGETS / 4 > transactions)
			continue;
		if (t->context)
			MemoryContextDelete(t->context);
		hash_search(targets, &t->relid, HASH_REMOVE, NULL);
	}
	if (hash_get_num_entries(targets) > 2 * MAX_TARGETS)
		target_reset();
}

void
target_close_all(void)
{
	ListCell   *lc;

	foreach(lc, open_targets)
	{
		ApplyTarget *t = lfirst(lc);

		if (t->scan)
			index_endscan(t->scan);
		t->scan = NULL;
		ExecClearTuple(t->found);
		ExecClearTuple(t->newslot);
		if (t->rri->ri_TrigDesc)
		{
			/* triggers have created slots that hold references, which end with the transaction */
			ExecResetTupleTable(t->estate->es_tupleTable, false);
			t->valid = false;
		}
		for (int i = 0; i < t->nindexes; i++)
		{
			end_index_inserts(t->rri->ri_IndexRelationDescs[i], t->rri->ri_IndexRelationInfo[i]);
			index_close(t->rri->ri_IndexRelationDescs[i], NoLock);
		}
		table_close(t->rel, NoLock);
		t->rel = NULL;
	}
	list_free(open_targets);
	open_targets = NIL;
	transactions++;
	if (targets && hash_get_num_entries(targets) > MAX_TARGETS)
		forget_old_targets();
}

void
target_reset(void)
{
	if (targets)
		hash_destroy(targets);
	targets = NULL;
	list_free(open_targets);
	open_targets = NIL;
}

Oid
target_partition_index(Relation leaf, Oid root_index)
{
	List	   *oids = RelationGetIndexList(leaf);
	ListCell   *lc;
	Oid			result = InvalidOid;

	foreach(lc, oids)
	{
		List	   *ancestors = get_rel_relispartition(lfirst_oid(lc)) ?
		get_partition_ancestors(lfirst_oid(lc)) : NIL;

		if (lfirst_oid(lc) == root_index || list_member_oid(ancestors, root_index))
			result = lfirst_oid(lc);
		list_free(ancestors);
	}
	list_free(oids);
	return result;
}
