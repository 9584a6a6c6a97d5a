/*
 * merge_columns.c
 *		Computes the merged columns of a row.
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/full_xid.h"
#include "catalog/nodes.h"
#include "catalog/stable_point.h"
#include "merge/merge_columns.h"

/* A state of this size may have parts that are no longer needed. */
#define TRIM_FROM	1024

/*
 * Returns true if all members have a row of the table as it is. Its states may then have been
 * removed on some nodes.
 */
static bool
is_stable(TupleTableSlot *row)
{
	bool		isnull;
	Datum		xmin = slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull);

	return full_xid_of(DatumGetTransactionId(xmin)) < stable_point_xid();
}

/*
 * Returns the stored state of a merged column, or NULL if there is none. The state of a counter
 * whose row has been deleted and inserted repeatedly is returned without the parts that are no
 * longer needed.
 */
static bytea *
stored_state(MergeTable *t, const RowState *found, int column)
{
	bytea	   *state = NULL;

	for (int i = 0; i < found->ncolumns; i++)
	{
		if (found->columns[i].attnum == t->policy.columns[column].attnum)
			state = found->columns[i].state;
	}
	if (state && t->merges[column].kind == MERGE_COUNTER && VARSIZE_ANY_EXHDR(state) >= TRIM_FROM)
		state = merge_state_trim(&t->merges[column], state, stable_point_seen());
	return state;
}

/* Returns what the table shows of a column. */
static MergeShown
shown_column(const ShownRow *shown, AttrNumber attnum, bytea *state)
{
	MergeShown	s = {.present = shown->row != NULL,.version = shown->version,.isnull = true};

	if (!shown->row)
		return s;
	s.value = slot_getattr(shown->row, attnum, &s.isnull);
	s.stable = state == NULL && is_stable(shown->row);
	return s;
}

/* Allocates the results. */
static void
merge_columns_start(MergeTable *t, MergedColumns *out)
{
	int			n = t->policy.ncolumns;

	memset(out, 0, sizeof(*out));
	out->n = n;
	if (n == 0)
		return;
	out->states = palloc0(n * sizeof(ColumnState));
	out->ops = palloc0(n * sizeof(WireMerge));
	out->values = palloc0(n * sizeof(Datum));
	out->nulls = palloc0(n * sizeof(bool));
}

/*
 * Stores the result of one column. Copies the value, because it may belong to a row that is freed
 * before the value is shown.
 */
static void
merge_columns_take(MergeTable *t, MergedColumns *out, int i, const MergeResult *r)
{
	out->states[i] = (ColumnState) {t->policy.columns[i].attnum, r->state};
	out->values[i] =
		r->isnull ? (Datum) 0 : datumCopy(r->value, t->merges[i].typbyval, t->merges[i].typlen);
	out->nulls[i] = r->isnull;
	out->rewrite |= r->rewrite;
	out->clamped |= r->clamped;
}

/* Raises an error if a column with its merge cannot have the value. */
static void
check_value(MergeTable *t, int i, TupleTableSlot *row, Datum value, bool isnull)
{
	char	   *reason = merge_check_value(&t->merges[i], value, isnull);

	if (reason)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("column \"%s\", which merges as %s, cannot have that value: %s",
						NameStr(TupleDescAttr(row->tts_tupleDescriptor, t->policy.columns[i].attnum - 1)->attname),
						merge_kind_name(t->merges[i].kind), reason)));
}

void
merge_columns_local(MergeTable *t, const RowState *found, const ShownRow *shown,
					TupleTableSlot *row, bool is_insert, const Frontier *seen, MergedColumns *out)
{
	merge_columns_start(t, out);
	for (int i = 0; i < out->n; i++)
	{
		AttrNumber	attnum = t->policy.columns[i].attnum;
		bytea	   *state = stored_state(t, found, i);
		MergeShown	s = shown_column(shown, attnum, state);
		MergeResult r = {0};
		bool		isnull;
		Datum		value;

		out->ops[i].column = row_codec_place(t->codec, attnum);
		if (!row)
		{
			out->states[i] = (ColumnState) {attnum, merge_keep(&t->merges[i], state, &s)};
			continue;
		}
		value = slot_getattr(row, attnum, &isnull);
		check_value(t, i, row, value, isnull);
		merge_local(&t->merges[i], state, &s, value, isnull,
					is_insert || t->policy.columns[i].retired, nodes_local_id(), seen, &r);
		merge_columns_take(t, out, i, &r);
		if (r.op)
		{
			out->ops[i].data = VARDATA_ANY(r.op);
			out->ops[i].len = VARSIZE_ANY_EXHDR(r.op);
		}
	}
}

/*
 * Returns the operation that arrived for a column, or NULL if its writer did not know of the merge.
 */
static const WireMerge *
op_of(const WireMerge *ops, int nops, AttrNumber attnum)
{
	for (int i = 0; i < nops; i++)
	{
		if (ops[i].column == attnum)
			return &ops[i];
	}
	return NULL;
}

void
merge_columns_apply(MergeTable *t, const RowState *found, const ShownRow *shown,
					TupleTableSlot *row, const WireMerge *ops, int nops, Version version,
					bool plain, const Frontier *seen, MergedColumns *out)
{
	merge_columns_start(t, out);
	for (int i = 0; i < out->n; i++)
	{
		AttrNumber	attnum = t->policy.columns[i].attnum;
		bytea	   *state = stored_state(t, found, i);
		MergeShown	s = shown_column(shown, attnum, state);
		const WireMerge *op = plain ? NULL : op_of(ops, nops, attnum);
		MergeResult r = {0};
		bool		isnull = true;
		Datum		value = row ? slot_getattr(row, attnum, &isnull) : (Datum) 0;

		/* a delete does not change the columns; the row may stay, if it is newer */
		if (!row && !s.present)
			r = (MergeResult) {.state = merge_keep(&t->merges[i], state, &s),.isnull = true};
		else if (!row)
			merge_apply(&t->merges[i], state, &s, NULL, 0, value, isnull, version, seen, &r);
		else if (op)
			merge_apply(&t->merges[i], state, &s, op->data, op->len, value, isnull, version, seen,
						&r);
		else
			merge_apply_plain(&t->merges[i], state, &s, value, isnull, version, &r);
		merge_columns_take(t, out, i, &r);
	}
}

void
merge_columns_values(MergeTable *t, const RowState *found, const ShownRow *shown,
					 MergedColumns *out)
{
	Frontier   *nothing = frontier_create();

	merge_columns_start(t, out);
	for (int i = 0; i < out->n; i++)
	{
		bytea	   *state = stored_state(t, found, i);
		MergeShown	s = shown_column(shown, t->policy.columns[i].attnum, state);
		MergeResult r = {0};

		merge_apply(&t->merges[i], state, &s, NULL, 0, (Datum) 0, true, shown->version, nothing,
					&r);
		merge_columns_take(t, out, i, &r);
	}
}

void
merge_columns_keep(MergeTable *t, Version version, MergedColumns *out)
{
	for (int i = 0; i < out->n; i++)
	{
		MergeShown s = {.present = true,
						.value = out->values[i],
						.isnull = out->nulls[i],
						.version = version};

		out->states[i].state = merge_keep(&t->merges[i], out->states[i].state, &s);
	}
}

void
merge_columns_show(const TablePolicy *policy, const MergedColumns *merged, TupleTableSlot *row)
{
	for (int i = 0; i < merged->n; i++)
	{
		AttrNumber	attnum = policy->columns[i].attnum;

		row->tts_values[attnum - 1] = merged->values[i];
		row->tts_isnull[attnum - 1] = merged->nulls[i];
	}
}
