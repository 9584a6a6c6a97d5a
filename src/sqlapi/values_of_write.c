/*
 * values_of_write.c
 *		Reads, for a subscriber, the values of a write that its stream has announced without them.
 *
 * A commit is in the WAL, and decoded, a little before other sessions can see it; with synchronous
 * replication, long before. Therefore the row is read with a snapshot that shows every transaction
 * that is marked as committed, also those that are still in the list of running ones. The function
 * waits only for that mark, because a commit may be waiting for the very subscriber that asks.
 *
 * Reading sets the hint bits of such a commit in the rows, as reading after its end would. This
 * does not affect the snapshots of other sessions. A writer that waits for such a row continues a
 * little earlier, but after the commit is in the WAL.
 *
 * The row may have been written again since the write that is asked for. A value is still the one
 * of that write if its TOAST chunks are not newer: an update keeps the chunks of values that it
 * leaves alone, and the writes of a row have growing versions. This does not hold if the key was
 * deleted meanwhile, since chunks are kept when a row takes another key.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/subtrans.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/toast_internals.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "apply/target.h"
#include "base/compat.h"
#include "base/session.h"
#include "catalog/as_owner.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "shared/local_frontier.h"
#include "shared/origin_map.h"
#include "sqlapi/argument.h"
#include "store/key_search.h"
#include "store/parked.h"
#include "store/row_state.h"
#include "store/row_version.h"

PG_FUNCTION_INFO_V1(replication_plugin_values_of_write);

/* What a subscriber asks for. */
typedef struct Question
{
	Relation	rel;
	int			nkeys;			/* in the order of the arguments */
	Datum	   *key_columns;	/* names, as text */
	Datum	   *key;			/* values, as text */
	int			n;
	Datum	   *columns;		/* names, as text */
	Version		version;
	TransactionId writer;		/* local transaction of that write */
	Snapshot	snapshot;
	TombstoneKeys *keys;
	Datum		key_values[INDEX_MAX_KEYS];		/* in key index order */
} Question;

/* ---------- the snapshot ---------- */

/*
 * Copies the transactions that have not committed from one list to another. Returns their number.
 */
static uint32
running_ones(TransactionId *to, const TransactionId *from, uint32 n)
{
	uint32		left = 0;

	for (uint32 i = 0; i < n; i++)
	{
		if (!TransactionIdDidCommit(from[i]))
			to[left++] = from[i];
	}
	return left;
}

/* Returns a snapshot that shows all transactions marked as committed. */
static Snapshot
committed_snapshot(void)
{
	Snapshot	s = palloc(sizeof(SnapshotData));
	Snapshot	latest;
	TransactionId next;
	TransactionId *xip;

	local_wait_for_commits();
	latest = GetLatestSnapshot();
	next = XidFromFullTransactionId(ReadNextFullTransactionId());
	*s = *latest;
	s->copied = false;
	s->regd_count = s->active_count = 0;
	xip = palloc((latest->xcnt + (next - latest->xmax) + 1) * sizeof(TransactionId));
	s->xcnt = running_ones(xip, latest->xip, latest->xcnt);
	/* transactions that began after the last one that has ended */
	for (TransactionId xid = latest->xmax; xid != next;)
	{
		if (!TransactionIdIsNormal(xid) || !TransactionIdDidCommit(xid))
			xip[s->xcnt++] = xid;
		TransactionIdAdvance(xid);
	}
	s->xip = xip;
	s->xmax = next;
	s->subxip = palloc((latest->subxcnt + 1) * sizeof(TransactionId));
	s->subxcnt = running_ones(s->subxip, latest->subxip, latest->subxcnt);
	return s;
}

/* ---------- the row ---------- */

/* Reads the elements of a text[]. Returns their number. */
static int
read_texts(Datum array, Datum **texts)
{
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, texts, NULL, &n);
	return n;
}

/* Returns the number of a column by its name. Raises an error if there is no such user column. */
static AttrNumber
column_number(Relation rel, Datum name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), TextDatumGetCString(name));

	if (attnum <= InvalidAttrNumber)	/* negative: a system column */
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\" on this node", RelationGetRelationName(rel), TextDatumGetCString(name))));
	return attnum;
}

/* Reads the values of the key in the order of this node's key index. */
static void
values_of_write_read_key(Question *q)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(q->rel, &attnums);
	int			found = 0;

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(q->rel), attnums[i] - 1);
		Oid			in,
					ioparam;
		bool		given = false;

		getTypeInputInfo(a->atttypid, &in, &ioparam);
		for (int k = 0; k < q->nkeys; k++)
		{
			if (column_number(q->rel, q->key_columns[k]) != attnums[i])
				continue;
			q->key_values[i] =
				OidInputFunctionCall(in, TextDatumGetCString(q->key[k]), ioparam, a->atttypmod);
			given = true;
		}
		found += given ? 1 : 0;
	}
	if (n == 0 || found != n || q->nkeys != n)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has another key on this node", RelationGetRelationName(q->rel))));
}

/*
 * Finds the row in one table or partition by the index of the key. Returns NULL if it does not
 * exist.
 */
static TupleTableSlot *
find_in(Question *q, Relation rel, Oid indexoid)
{
	TupleTableSlot *row = table_slot_create(rel, NULL);

	if (key_search_row(rel, indexoid, q->key_values, q->snapshot, row))
	{
		ExecMaterializeSlot(row);
		return row;
	}
	ExecDropSingleTupleTableSlot(row);
	return NULL;
}

/*
 * Finds the row, in any partition. Sets *rel to the table or partition, which stays open. No SQL
 * query is used: planning it would run functions of indexes, it would look up operators by name,
 * and row security would limit it to what the table's owner may see.
 */
static TupleTableSlot *
values_of_write_find_row(Question *q, Relation *rel)
{
	Oid			key_index = table_key_index(q->rel);
	TupleTableSlot *row = NULL;
	ListCell   *lc;

	*rel = q->rel;
	if (q->rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return find_in(q, q->rel, key_index);
	foreach(lc, find_all_inheritors(RelationGetRelid(q->rel), AccessShareLock, NULL))
	{
		Relation	leaf = table_open(lfirst_oid(lc), NoLock);
		Oid			index = leaf->rd_rel->relkind == RELKIND_RELATION
								? target_partition_index(leaf, key_index)
								: InvalidOid;

		CHECK_FOR_INTERRUPTS();
		if (OidIsValid(index) && (row = find_in(q, leaf, index)) != NULL)
		{
			*rel = leaf;
			return row;
		}
		table_close(leaf, NoLock);
	}
	return NULL;
}

/* Returns a value in text form, as an element of a text[]. */
static Datum
value_text(Form_pg_attribute a, Datum value)
{
	int			nest = session_pin_text(true);
	Datum		text;

	if (a->attlen == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM(value));
	text = CStringGetTextDatum(OidOutputFunctionCall(session_output_function(a->atttypid), value));
	session_unpin(nest);
	return text;
}

/*
 * Returns the transaction that wrote the chunks of a value, or InvalidTransactionId if they are
 * gone.
 */
static TransactionId
chunk_writer(struct varlena *value)
{
	struct varatt_external pointer;
	Relation	toast;
	Relation   *indexes;
	int			nindexes,
				valid;
	ScanKeyData key;
	SnapshotData space;
	SysScanDesc scan;
	HeapTuple	chunk;
	TransactionId writer = InvalidTransactionId;

	VARATT_EXTERNAL_GET_POINTER(pointer, value);
	toast = table_open(pointer.va_toastrelid, AccessShareLock);
	valid = toast_open_indexes(toast, AccessShareLock, &indexes, &nindexes);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(pointer.va_valueid));
	scan = systable_beginscan_ordered(toast, indexes[valid], toast_snapshot(&space), 1, &key);
	chunk = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(chunk))
		writer = HeapTupleHeaderGetRawXmin(chunk->t_data);
	systable_endscan_ordered(scan);
	toast_close_indexes(indexes, nindexes, AccessShareLock);
	table_close(toast, AccessShareLock);
	return writer;
}

/*
 * Returns the version of what a transaction wrote. A transaction in progress, other than the write
 * that is asked for, is later than that write. The function does not wait for it, since it may be
 * waiting for the subscriber that asks.
 */
static Version
values_of_write_version_of(Question *q, TransactionId xid)
{
	TransactionId top = xid;

	if (TransactionIdIsNormal(xid) && TransactionIdFollowsOrEquals(xid, TransactionXmin))
		top = SubTransGetTopmostTransaction(xid);
	if (top == q->writer)
		return q->version;
	return TransactionIdIsInProgress(xid) ? VERSION_SELF : row_version(xid, VERSION_SELF);
}

/*
 * Returns true if a transaction has made a parked row come back: the values it wrote may be older
 * or newer than its commit.
 */
static bool
is_repair(TransactionId writer)
{
	TimestampTz ts;
	RepOriginId origin;

	origin_map_ensure_loaded();
	return TransactionIdIsNormal(writer) && TransactionIdGetCommitTsData(writer, &ts, &origin) &&
		origin_map_node(origin) == ORIGIN_NODE_REPAIR;
}

/* Returns true if a value has been in the row since the write that is asked for, or longer. */
static bool
is_as_old(Question *q, Form_pg_attribute a, Datum value)
{
	TransactionId writer;

	if (a->attlen != -1 || !VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		return false;
	writer = chunk_writer((struct varlena *) DatumGetPointer(value));
	return TransactionIdIsValid(writer) && !is_repair(writer) &&
		version_cmp(values_of_write_version_of(q, writer), q->version) <= 0;
}

/* Returns true if the key has been deleted after the write that is asked for. */
static bool
was_deleted(Question *q)
{
	Version		deleted;

	return tombstone_visible(q->keys, q->key_values, q->snapshot, &deleted) &&
		   version_cmp(deleted, q->version) > 0;
}

/* Returns the version of the shown row. */
static Version
shown_version(Question *q, TransactionId xmin)
{
	Version		v = values_of_write_version_of(q, xmin);

	if (version_is_oldest(v) && pin_any(RelationGetRelid(q->rel)))
		(void) pin_find(q->keys, q->key_values, xmin, &v);
	return v;
}

/* Reads the values of the shown row. Returns false if they are not those of the write. */
static bool
shown_values(Question *q, Relation rel, TupleTableSlot *row, Datum *values, bool *nulls)
{
	Version v =
		shown_version(q, DatumGetTransactionId(
							 slot_getsysattr(row, MinTransactionIdAttributeNumber, &nulls[0])));

	/*
	 * A row of a mergeable table may combine several writes. A row of the oldest version is at most
	 * as new as the write.
	 */
	bool all =
		version_cmp(v, q->version) == 0 || version_is_oldest(v) || table_is_mergeable(q->rel);

	if (!all && was_deleted(q))
		return false;
	for (int i = 0; i < q->n; i++)
	{
		AttrNumber	attnum = column_number(rel, q->columns[i]);
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
		Datum		value = slot_getattr(row, attnum, &nulls[i]);

		if (!all && (nulls[i] || !is_as_old(q, a, value)))
			return false;
		if (!nulls[i])
			values[i] = value_text(a, value);
	}
	return true;
}

/*
 * Reads the values of the row while it is parked. Returns false if it is not parked, or was written
 * again.
 */
static bool
parked_values(Question *q, Datum *values, bool *nulls)
{
	TupleDesc	desc = RelationGetDescr(q->rel);
	TupleTableSlot *slot;
	ParkedRow	parked;

	if (!parked_find(q->keys, q->key_values, &parked) ||
		version_cmp(parked.version, q->version) != 0)
		return false;
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	row_decode(row_codec(q->rel), &parked.row, slot);
	for (int i = 0; i < q->n; i++)
	{
		AttrNumber	attnum = column_number(q->rel, q->columns[i]);
		Datum		value = slot_getattr(slot, attnum, &nulls[i]);

		if (!nulls[i])
			values[i] = value_text(TupleDescAttr(desc, attnum - 1), value);
	}
	ExecDropSingleTupleTableSlot(slot);
	return true;
}

/* Sets *array to the values as text[]. Returns false if there are none. */
static bool
values_of_write_answer(Question *q, Datum *array)
{
	Datum	   *values = palloc0(Max(q->n, 1) * sizeof(Datum));
	bool	   *nulls = palloc0(Max(q->n, 1) * sizeof(bool));
	int			lower = 1;
	Relation	rel;
	TupleTableSlot *row;
	bool		found;

	PushActiveSnapshot(q->snapshot);	/* TOASTed values are read with it */
	row = values_of_write_find_row(q, &rel);
	parked_read_as_of(q->snapshot);
	found = row ? shown_values(q, rel, row, values, nulls) : parked_values(q, values, nulls);
	parked_read_as_of(NULL);
	PopActiveSnapshot();
	if (row)
		ExecDropSingleTupleTableSlot(row);
	if (rel != q->rel)
		table_close(rel, NoLock);
	if (found)
		*array = PointerGetDatum(
			construct_md_array(values, nulls, 1, &q->n, &lower, TEXTOID, -1, false, TYPALIGN_INT));
	return found;
}

/*
 * values_of_write(regclass, text[], text[], text[], bigint, integer, xid) → (vals text[], until
 * text)
 */
Datum
replication_plugin_values_of_write(PG_FUNCTION_ARGS)
{
	Question	 q = {.version = {PG_GETARG_INT64(4), PG_GETARG_INT32(5)},
					  .writer = PG_GETARG_TRANSACTIONID(6)};
	Datum		result[2];
	bool		nulls[2] = {false, false};
	TupleDesc	desc;
	OwnerContext saved;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	q.rel = argument_table(PG_GETARG_OID(0), AccessShareLock);
	if (pg_class_aclcheck(RelationGetRelid(q.rel), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(q.rel));
	/* a hidden row would be mistaken for one that was written again */
	if (check_enable_rls(RelationGetRelid(q.rel), InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security of table \"%s\" may hide rows from role \"%s\"", RelationGetRelationName(q.rel), GetUserNameFromId(GetUserId(), false)),
				 errhint("Here: ALTER ROLE %s BYPASSRLS.", quote_identifier(GetUserNameFromId(GetUserId(), false)))));
	q.nkeys = read_texts(PG_GETARG_DATUM(1), &q.key_columns);
	if (read_texts(PG_GETARG_DATUM(2), &q.key) != q.nkeys)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there must be as many key columns as values")));
	q.n = read_texts(PG_GETARG_DATUM(3), &q.columns);
	saved = as_owner_begin_code(q.rel->rd_rel->relowner);
	values_of_write_read_key(&q);
	q.keys = tombstone_keys(q.rel);
	q.snapshot = committed_snapshot();
	nulls[0] = !values_of_write_answer(&q, &result[0]);
	as_owner_end(saved);
	table_close(q.rel, AccessShareLock);
	/* must be read after the row */
	result[1] = CStringGetTextDatum(frontier_to_text(local_frontier(nodes_local_id())));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), result, nulls));
}
