/*
 * kept.c
 *		Applies the kept changes of tables that wait, in the order of their arrival, as soon as
 *		that is possible.
 *
 * Each transaction of which changes were kept (apply/keep.c) is applied again with these changes
 * alone, as the same transaction of the same origin: its rows get the versions that they would have
 * had, and other nodes know that they have it. The same transaction deletes what it has applied.
 * The hold of the origin is taken only at the very end, so that the table's code delays no other
 * changes, however long it takes.
 *
 * Before each visit of a table, the time of the next visit is stored for the case that this one
 * fails, since the failure may end the process (kept_due.c). The time of a transaction is limited.
 *
 * When nothing is left, the table stops waiting. A worker that keeps a change holds a lock on table
 * waiting_change until it commits, and under that lock checks again that the table waits. So a
 * stronger lock here ensures that no change is on its way.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "apply/apply.h"
#include "base/cut_text.h"
#include "base/fault_point.h"
#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/pulse.h"
#include "base/session.h"
#include "base/settings.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/waiting/kept.h"
#include "control/waiting/kept_due.h"
#include "control/workers/sql.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

#define WORK_MS			2000	/* for one table at a time: other tables wait as well */
/* for all tables; then the owners who have waited longest have their turn */
#define ROUND_MS		10000
#define BATCH			"100"	/* changes that are read at once ... */
#define BATCH_BYTES		(4 * 1024 * 1024)	/* ... or fewer, when they exceed this size */
/* limit for waiting for the origin: its holder may wait for rows of this transaction */
#define HOLD_MS			5000
#define LOCK_TIMEOUT	"2s"	/* for a lock on the table: other tables wait for this process */

static const char end_waiting_sql[] = "SELECT replication_plugin.end_waiting($1::integer)";
static const char schema_of_table_sql[] =
	"SELECT schema_name FROM replication_plugin.waiting_table WHERE number = $1::integer";
static const char name_of_table_sql[] =
	"SELECT table_name FROM replication_plugin.waiting_table WHERE number = $1::integer";
static const char any_kept_sql[] =
	"SELECT 1 FROM replication_plugin.waiting_table WHERE kept LIMIT 1";

/* A transaction some of whose changes were kept. */
typedef struct Kept
{
	KeptWork   *work;
	ApplyContext *cx;
	char	   *schema;
	char	   *name;
	bool		any;
	WireBegin	begin;
	NodeId		provider;
	Frontier   *seen;
	/* forwarded by the source of a join, which has decided all conflicts */
	bool		decided;
	int			limit;			/* milliseconds that it may take */
	int			changes;		/* number of its changes applied so far */
} Kept;

/* ---------- statements ---------- */

/* A kept change, as read. */
typedef struct Change
{
	int64		id;
	int32		kept_by;
	WireReader	relation;
	WireReader	change;
} Change;

/* Conditions that find the changes of a table and of a transaction. */
#define OF_TABLE		" FROM " EXTENSION_SCHEMA "." TABLE_WAITING_CHANGE " c WHERE c.schema_name = $1 AND c.table_name = $2"
#define OF_TRANSACTION	OF_TABLE " AND c.origin = $3 AND c.origin_lsn = $4"

/*
 * The statements that run for each transaction, with the number of their parameters. The last two
 * parameters of READ_SOME name the change after which to read.
 */
typedef enum Statement
{
	READ_HEAD,
	READ_SOME,
	DELETE_ALL
} Statement;

static const struct
{
	const char *sql;
	int			nparams;
}			statements[] = {
	[READ_HEAD] = {"SELECT c.provider, c.origin, c.origin_lsn, c.commit_ts, c.xid, c.seen, c.decided" OF_TABLE " ORDER BY c.id, c.kept_by LIMIT 1", 2},
	[READ_SOME] = {"SELECT c.id, c.kept_by, c.relation, c.change" OF_TRANSACTION " AND (c.id, c.kept_by) > ($5, $6) ORDER BY c.id, c.kept_by LIMIT " BATCH, 6},
	[DELETE_ALL] = {"DELETE" OF_TRANSACTION, 4}
};

StaticAssertDecl(lengthof(statements) == KEPT_STATEMENTS, "each statement has a plan");

/* Runs a statement, in an SPI session of the extension. */
static void
kept_run(Statement s, const Kept *k, const Change *after)
{
	Oid			types[6] = {TEXTOID, TEXTOID, INT4OID, LSNOID, INT8OID, INT4OID};
	Datum		values[6] = {CStringGetTextDatum(k->schema), CStringGetTextDatum(k->name),
							 Int32GetDatum(k->begin.origin), LSNGetDatum(k->begin.origin_lsn),
							 Int64GetDatum(after->id),		 Int32GetDatum(after->kept_by)};

	session_keep_plan(&k->work->plans[s], statements[s].sql, statements[s].nparams, types);
	if (SPI_execute_plan(k->work->plans[s], values, NULL, s != DELETE_ALL, 0) < 0)
		elog(ERROR, "could not run \"%s\"", statements[s].sql);
}

/* ---------- reading ---------- */

/* Returns a column, not null, of the row that was read. */
static Datum
kept_column(int row, int attnum)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, attnum, &isnull);
}

/* Reads the first transaction of the table, if there is one. */
static void
read_head(Kept *k)
{
	OwnTransaction t = own_transaction_begin_sql();
	const Change none = {0};
	int			nest;

	nest = session_sql_begin();
	kept_run(READ_HEAD, k, &none);
	k->any = SPI_processed > 0;
	if (k->any)
	{
		char	   *seen = TextDatumGetCString(kept_column(0, 6));
		MemoryContext old;

		k->provider = DatumGetInt32(kept_column(0, 1));
		k->decided = DatumGetBool(kept_column(0, 7));
		k->begin = (WireBegin){.origin = DatumGetInt32(kept_column(0, 2)),
							   .origin_lsn = DatumGetLSN(kept_column(0, 3)),
							   .commit_ts = DatumGetTimestampTz(kept_column(0, 4)),
							   .xid = (TransactionId) DatumGetInt64(kept_column(0, 5))};
		old = MemoryContextSwitchTo(t.context);
		k->seen = frontier_from_text(seen);
		MemoryContextSwitchTo(old);
	}
	session_sql_end(nest);
	own_transaction_end(&t);
	if (k->any && !k->seen)
		elog(ERROR, "what a provider had seen is malformed");
}

/* Returns a copy of a bytea column. */
static WireReader
read_bytes(int row, int attnum)
{
	bytea	   *b = DatumGetByteaPCopy(kept_column(row, attnum));

	return (WireReader) {.data = VARDATA(b),.len = VARSIZE(b) - VARHDRSZ};
}

/* Reads the next changes into a memory context. Returns their number. */
static int
read_some(const Kept *k, Change *last, Change **changes, MemoryContext context)
{
	int			nest = session_sql_begin();
	MemoryContext old;
	Size		bytes = 0;
	int			n;

	kept_run(READ_SOME, k, last);
	n = SPI_processed;
	old = MemoryContextSwitchTo(context);
	*changes = palloc(Max(n, 1) * sizeof(Change));
	for (int i = 0; i < n; i++)
	{
		Change	   *c = &(*changes)[i];

		*c = (Change){DatumGetInt64(kept_column(i, 1)), DatumGetInt32(kept_column(i, 2)),
					  read_bytes(i, 3), read_bytes(i, 4)};
		bytes += c->relation.len + c->change.len;
		if (bytes > BATCH_BYTES)
			n = i + 1;			/* the next call reads the rest */
	}
	MemoryContextSwitchTo(old);
	session_sql_end(nest);
	if (n > 0)
		*last = (*changes)[n - 1];
	return n;
}

/* ---------- applying ---------- */

/* Applies the changes of a transaction. */
static void
apply_changes(Kept *k)
{
	MemoryContext batch =
		AllocSetContextCreate(TopTransactionContext, "kept changes", ALLOCSET_DEFAULT_SIZES);
	Change		last = {.id = PG_INT64_MIN};
	Change	   *changes;
	int			n;

	while ((n = read_some(k, &last, &changes, batch)) > 0)
	{
		for (int i = 0; i < n; i++)
		{
			apply_kept(k->cx, changes[i].relation, changes[i].change);
			k->changes++;
			if (pulse_is_over())	/* code may have ignored the cancel */
				ereport(ERROR,
						(errcode(ERRCODE_QUERY_CANCELED),
						 errmsg("a transaction takes too long")));
		}
		MemoryContextReset(batch);
	}
}

/*
 * Deletes the changes of a transaction. Raises an error unless all that were applied still exist.
 */
static void
kept_delete_changes(const Kept *k)
{
	const Change none = {0};
	int			nest = session_sql_begin();
	int			n;

	kept_run(DELETE_ALL, k, &none);
	n = SPI_processed;
	session_sql_end(nest);
	if (k->changes > 0 && n != k->changes)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("what is kept of the table was forgotten while it was being applied")));
}

/* Applies one transaction. */
static void
apply_transaction(Kept *k)
{
	apply_init(k->cx, k->provider, NULL, k->seen);
	apply_begin(k->cx, &k->begin,
				(ApplyMode){.careful = true, .kept = true, .source_decides = k->decided});
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	pulse_limit(k->limit);
	/* a table that is excluded by now may still exist, and would fail again */
	if (exclusion_reason(k->schema, k->name) == NULL)
		apply_changes(k);
	kept_delete_changes(k);
	apply_end_rows(k->cx);
	pulse_limit(0);
	if (!gate_hold_for(&k->work->gate, k->begin.origin, HOLD_MS))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("a link is applying a transaction of the same node")));
	FAULT_POINT("kept_commit_before");
	(void) apply_commit(k->cx);
	FAULT_POINT("kept_commit_after");
	gate_release(&k->work->gate);
}

/* Why a transaction could not be applied. */
typedef struct Failure
{
	ErrorData  *error;
	int			changes;		/* number applied before the failure */
	bool		limited;		/* it exceeded its time limit */
} Failure;

/* Returns a text about the next try of a transaction that exceeded its time limit. */
static const char *
next_try(const Kept *k)
{
	if (kept_due_is_most(k->limit, k->changes))
		return "it is tried again, but not with more time: resend_table() on a node that has the rows gives them here without it";
	return "it is tried again with more time, and not before others";
}

/* Aborts after an error, and sets *f to what happened. */
static void
kept_clean_up(const Kept *k, MemoryContext context, Failure *f)
{
	ErrorData  *edata;
	bool		timed_out = pulse_timed_out();

	MemoryContextSwitchTo(context);
	edata = f->error = CopyErrorData();
	f->changes = k->changes;
	f->limited = pulse_is_over();
	if (f->limited)
		edata->message =
			psprintf("a transaction took longer than %d s, in which %d changes were applied; %s%s",
					 k->limit / 1000, k->changes, next_try(k), cut_error_context(edata));
	else if (timed_out)
		edata->message = psprintf("a row took longer than replication_plugin.row_timeout (%d ms)%s", setting_row_timeout,
								  cut_error_context(edata));
	FlushErrorState();
	origin_abort_transaction();
	apply_reset(k->cx);
	gate_release(&k->work->gate);
	MemoryContextSwitchTo(context);
}

/* Applies one transaction. Returns false, with *f set, if that failed. */
static bool
try_transaction(Kept *k, Failure *f)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		apply_transaction(k);
	}
	PG_CATCH();
	{
		kept_clean_up(k, context, f);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	apply_init(k->cx, INVALID_NODE_ID, NULL, NULL);
	return f->error == NULL;
}

/* ---------- tables ---------- */

/* Stores why a table goes on waiting. */
static void
kept_note_failure(const char *number, const Failure *f, Moment start, bool progress)
{
	kept_due_failed(number, cut_error_text(f->error), (int) ((moment_now() - start) / 1000),
					f->changes, f->limited, progress);
}

/*
 * Applies what can be applied of a table, for up to WORK_MS. Ends its waiting if nothing is left.
 */
static void
work_on(KeptWork *work, ApplyContext *cx, const char *number, const char *schema, const char *name)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "kept transaction", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Moment		start = moment_now();
	int			limit = kept_due_limit(number);
	bool		failed = false;
	bool		any = true;
	bool		ended = false;
	int			n = 0;

	while (any && !failed && !moment_is_past(start, WORK_MS))
	{
		Kept		k = {
			.work = work,.cx = cx,.schema = pstrdup(schema),.name = pstrdup(name),.limit = limit
		};
		Moment		begun = moment_now();
		Failure		f = {0};

		read_head(&k);
		any = k.any;
		if (any && !try_transaction(&k, &f))
		{
			kept_note_failure(number, &f, begun, n > 0);
			failed = true;
		}
		n++;
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (!any)
	{
		ended = strcmp(sql_repair_with_subtransactions(end_waiting_sql, 1, &number,
													   origin_map_origin(ORIGIN_NODE_REPAIR)),
					   "t") == 0;
		FAULT_POINT("table_wait_ended");
	}
	if (!failed && !ended)		/* also if a change was kept in the meantime */
		kept_due_worked(number, n == 1 && !any);
}

/* Visits one table. */
static void
kept_visit(KeptWork *work, ApplyContext *cx, const char *number, bool slow)
{
	char	   *schema = sql_value(schema_of_table_sql, 1, &number);
	char	   *name = sql_value(name_of_table_sql, 1, &number);

	if (schema && name && kept_due_begin(number, slow))
		work_on(work, cx, number, schema, name);
}

bool
kept_round(KeptWork *work, ApplyContext *cx)
{
	char	   *list;
	char	   *slow;
	char	   *rest = NULL;
	Moment		begun = moment_now();
	OwnTransaction t;

	Assert(!IsTransactionState());
	if (!sql_value(any_kept_sql, 0, NULL))
		return false;
	if (!work->changes)
		work->changes = kept_due_listen();
	list = kept_due(work->changes, &slow);
	t = own_transaction_begin();
	gate_init(&work->gate, nodes_local_id());
	own_transaction_end(&t);
	for (char *number = list ? strtok_r(list, " ", &rest) : NULL; number && !moment_is_past(begun, ROUND_MS); number = strtok_r(NULL, " ", &rest))
		kept_visit(work, cx, number, false);
	if (slow)
		kept_visit(work, cx, slow, true);
	gone_table_round(&work->gone);
	return true;
}
