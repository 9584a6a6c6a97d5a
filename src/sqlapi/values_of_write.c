/*
 * committed_values.c
 *		Reads for a subscriber what its stream has told it of.
 *
 * A commit is in the WAL, and decoded, a little before others here can see it; with synchronous replication
 * long before. So the query runs under a snapshot that shows every transaction that is marked as committed,
 * also those that are still in the list of running ones. Nothing is waited for but the mark: a commit
 * may be waiting for the very subscriber that asks.
 *
 * Reading marks such a commit in the rows' hint bits, as reading after its end would. Snapshots of others
 * do not care; a writer that waits for such a row goes on a little earlier, behind the commit in the WAL.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "catalog/local_frontier.h"

PG_FUNCTION_INFO_V1(replication_plugin_committed_values);

/* Takes those out of a list that have committed. Returns how many are left. */
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

/* A snapshot that shows all that is marked as committed. */
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
	/* those that began after the last one that has ended */
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

/* The columns of the first row of the result as text[]; null if there is none. */
static Datum
first_row(bool *isnull)
{
	int			n = SPI_tuptable->tupdesc->natts;
	Datum	   *values = palloc(n * sizeof(Datum));
	bool	   *nulls = palloc(n * sizeof(bool));
	int			lower = 1;

	*isnull = SPI_processed == 0;
	if (*isnull)
		return (Datum) 0;
	for (int i = 0; i < n; i++)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		nulls[i] = text == NULL;
		if (text)
			values[i] = CStringGetTextDatum(text);
	}
	return SPI_datumTransfer(PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, TEXTOID, -1, false, TYPALIGN_INT)),
							 false, -1);
}

/* committed_values(text) -> text[] */
Datum
replication_plugin_committed_values(PG_FUNCTION_ARGS)
{
	SPIPlanPtr	plan;
	Datum		row;
	bool		isnull;

	SPI_connect();
	plan = SPI_prepare(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0, NULL);
	if (!plan)
		elog(ERROR, "could not prepare the query: %s", SPI_result_code_string(SPI_result));
	if (SPI_execute_snapshot(plan, NULL, NULL, committed_snapshot(), InvalidSnapshot, true, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "that is no query");
	row = first_row(&isnull);
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();
	return row;
}
