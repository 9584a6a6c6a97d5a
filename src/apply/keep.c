/*
 * keep.c
 *		Keeps arriving changes of tables that wait, to be applied later.
 *
 * A kept change consists of the message as it arrived, the description of its table, and all that
 * applying it requires of its transaction: origin, position, timestamp, and what the provider had
 * seen. It is a row of an extension table that the transaction of the change writes, so each change
 * is kept exactly once. The kept change is forwarded to the subscribers that get the transaction
 * from this node. Each of them applies it at once, or keeps it as well.
 *
 * Invariant: the changes of a table are applied in the order of their arrival, which is a causal
 * order. A process that keeps a change therefore holds a lock on the table of kept changes until it
 * commits, and checks under this lock again whether the table waits. A process that ends the
 * waiting holds a stronger lock (control/waiting/kept.c).
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "apply/keep.h"
#include "apply/put.h"
#include "base/session.h"
#include "catalog/names.h"
#include "wire/value.h"

/* Columns of waiting_change that are read here. */
#define ATT_SCHEMA		3
#define ATT_TABLE		4
#define ATT_PROVIDER	5
#define ATT_XID			9
#define ATT_SEEN		10
#define ATT_RELATION	11
#define ATT_CHANGE		12
#define ATT_LAYOUT		13
#define ATT_RELID		15

static const char insert_change_sql[] =
	"INSERT INTO " EXTENSION_SCHEMA "." TABLE_WAITING_CHANGE " (kept_by, schema_name, table_name,"
	" provider, origin, origin_lsn, commit_ts, xid, seen, relation, change, layout, decided,"
	" relid)"
	" SELECT l.node_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM "
	EXTENSION_SCHEMA ".local_node l";

const WaitingTable *
keep_needed(const WireRelation *remote)
{
	if (!waiting_table(remote->nspname, remote->relname))
		return NULL;
	/* acquiring the lock processes invalidations, and so shows what others have committed */
	table_close(table_open(extension_relation_oid(TABLE_WAITING_CHANGE), RowExclusiveLock), NoLock);
	return waiting_table(remote->nspname, remote->relname);
}

/* Returns a description, or a message, of the table under its local number. */
static bytea *
keep_renumber(const WireRelation *remote, uint32 number, const char *message, int len)
{
	StringInfoData buf;
	uint32		n = pg_hton32(number);
	WireRelation m = *remote;

	initStringInfo(&buf);
	if (!message)
	{
		m.relid = number;
		wire_write_relation(&buf, &m);
	}
	else if (message[0] == WIRE_TRUNCATE)
		wire_write_truncate(&buf, 1, &number);
	else
	{
		Assert(len > 1 + sizeof(n));
		appendBinaryStringInfo(&buf, message, len);
		memcpy(buf.data + 1, &n, sizeof(n));
	}
	return DatumGetByteaPP(DirectFunctionCall1(bytearecv, PointerGetDatum(&buf)));
}

/* Prepares the statement that stores a kept change. */
static void
keep_prepare(ApplyContext *cx)
{
	Oid types[13] = {TEXTOID, TEXTOID,	INT4OID,  INT4OID, LSNOID,	TIMESTAMPTZOID, INT8OID,
					 TEXTOID, BYTEAOID, BYTEAOID, TEXTOID, BOOLOID, INT8OID};

	session_keep_plan(&cx->keep_plan, insert_change_sql, lengthof(types), types);
}

void
keep_change(ApplyContext *cx, const WireRelation *remote, const WaitingTable *w,
			const char *message, int len)
{
	Datum		values[13];
	int			nest = session_sql_begin();

	Assert(cx->active && !cx->mode.kept && w->kept && !put_is_gathering(cx));
	cx->keeping = true;
	keep_prepare(cx);
	values[0] = CStringGetTextDatum(w->schema);
	values[1] = CStringGetTextDatum(w->name);
	values[2] = Int32GetDatum(cx->provider);
	values[3] = Int32GetDatum(cx->begin.origin);
	values[4] = LSNGetDatum(cx->begin.origin_lsn);
	values[5] = TimestampTzGetDatum(cx->begin.commit_ts);
	values[6] = Int64GetDatum(cx->begin.xid);
	values[7] = CStringGetTextDatum(frontier_to_text(cx->seen));
	/*
	 * The description of a wide table is much larger than a row, so only the first change of the
	 * transaction gets it.
	 */
	values[8] = relation_to_be_kept(cx, remote->relid, cx->number)
					? PointerGetDatum(keep_renumber(remote, w->number, NULL, 0))
					: DirectFunctionCall1(byteain, CStringGetDatum(""));
	values[9] = PointerGetDatum(keep_renumber(remote, w->number, message, len));
	values[10] = CStringGetTextDatum(value_layout());
	values[11] = BoolGetDatum(cx->mode.source_decides);
	values[12] = Int64GetDatum(cx->relid ? cx->relid : remote->relid);
	if (SPI_execute_plan(cx->keep_plan, values, NULL, false, 0) != SPI_OK_INSERT ||
		SPI_processed != 1)
		elog(ERROR, "could not keep a change of table \"%s.%s\"", w->schema, w->name);
	session_sql_end(nest);
	cx->keeping = false;
	cx->wrote = true;
}

/* Raises an error on a joining node, which cannot compare the change with the copied row. */
static void
refuse_undecided(ApplyRelation *ar)
{
	if (ar->cx->mode.unversioned)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changes of table %s have come to wait on the source of the join",
						quote_qualified_identifier(TextDatumGetCString(ar->values[ATT_SCHEMA - 1]), TextDatumGetCString(ar->values[ATT_TABLE - 1]))),
				 errhint("Let the join begin anew: SELECT replication_plugin.rejoin() on this node;"
						 " or rejoin(via => ...) with the dsn of another member, where the table does not wait.")));
}

/* Raises an error if parts of the change are missing, or its values have another server's form. */
static void
check_envelope(ApplyRelation *ar)
{
	const int needed[] = {ATT_SCHEMA,	ATT_TABLE,	ATT_PROVIDER, ATT_XID,	ATT_SEEN,
						  ATT_RELATION, ATT_CHANGE, ATT_LAYOUT,	  ATT_RELID};

	for (int i = 0; i < lengthof(needed); i++)
	{
		if (ar->nulls[needed[i] - 1] || !ar->present[needed[i] - 1])
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a change that another node has kept came without its content")));
	}
	refuse_undecided(ar);
	if (strcmp(TextDatumGetCString(ar->values[ATT_LAYOUT - 1]), value_layout()) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a change that another node has kept has values in the form of another version of PostgreSQL, or another kind of machine"),
				 errhint("Let the table go on waiting there no longer: see the view waiting_tables on that node.")));
}

/* Returns a reader of a copy of one column. */
static WireReader
open_column(ApplyRelation *ar, int attnum)
{
	bytea	   *b = DatumGetByteaPCopy(ar->values[attnum - 1]);

	return (WireReader) {.data = VARDATA(b),.len = VARSIZE(b) - VARHDRSZ};
}

Envelope
keep_open_envelope(ApplyRelation *ar)
{
	Envelope	e;
	MemoryContext old;

	Assert(ar->envelope && !put_is_gathering(ar->cx));
	if (!ar->cx->envelope)
		ar->cx->envelope =
			AllocSetContextCreate(TopMemoryContext, "kept change", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(ar->cx->envelope);
	check_envelope(ar);
	old = MemoryContextSwitchTo(ar->cx->envelope);
	e = (Envelope) {
		.provider = DatumGetInt32(ar->values[ATT_PROVIDER - 1]),
		.xid = (TransactionId) DatumGetInt64(ar->values[ATT_XID - 1]),
		.seen = frontier_from_text(TextDatumGetCString(ar->values[ATT_SEEN - 1])),
		.relid = (uint32) DatumGetInt64(ar->values[ATT_RELID - 1]),
		.relation = open_column(ar, ATT_RELATION),
		.change = open_column(ar, ATT_CHANGE)
	};
	MemoryContextSwitchTo(old);
	if (!e.seen)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a change that another node has kept says nothing of what had been seen")));
	return e;
}
