/*
 * failure.c
 *		Tells which row made a transaction fail, and records the failure.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "apply/apply.h"
#include "apply/context.h"
#include "apply/put.h"
#include "apply/row.h"
#include "apply/unique.h"
#include "apply/write.h"
#include "base/own_transaction.h"
#include "base/pulse.h"
#include "base/session.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "store/row_version.h"

static const char recorded_stop_sql[] =
	"SELECT 1 FROM " EXTENSION_SCHEMA ".conflict_log"
	" WHERE resolution = 'stop' AND starts_with(detail, $1)";

/* Returns true if the conflict log already has the stop at this transaction. */
static bool
stop_is_recorded(const char *prefix)
{
	Oid			types[1] = {TEXTOID};
	Datum		args[1] = {CStringGetTextDatum(prefix)};
	bool		recorded;
	int			nest;

	nest = session_sql_begin();
	if (SPI_execute_with_args(recorded_stop_sql, 1, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the conflicts");
	recorded = SPI_processed > 0;
	session_sql_end(nest);
	return recorded;
}

/* Finds the conflicting rows and records the conflict. */
static void
record_stop(ApplyContext *cx, const char *detail)
{
	ApplyRelation *ar = relation_open_remote(cx, cx->remote_id);
	bool		update = strcmp(cx->action, "UPDATE") == 0;
	Conflict	   conflict = {.resolution = RESOLUTION_STOP,
							   .rel = ar->rel,
							   .remote_version = cx->version,
							   .local_version = VERSION_OLDEST,
							   .policy = policy_name(POLICY_LAST_WRITE_WINS),
							   .detail = detail};
	ApplyTarget *t;
	OwnerContext saved;
	List	   *clashes;
	int			n;

	saved = become_owner(ar);
	(void) row_read(ar, &cx->newtup);
	row_to_root_slot(ar);
	t = relation_route(ar);
	row_fill_slot(ar, t, NULL, t->newslot);
	clashes = unique_clashes(t, t->newslot, true, NULL);
	n = list_length(clashes);
	conflict.type = n > 1 ? CONFLICT_MULTIPLE_UNIQUE :
		update ? CONFLICT_UPDATE_EXISTS : CONFLICT_INSERT_EXISTS;
	if (n > 0)
	{
		conflict.local_row = ((Clash *) linitial(clashes))->row;
		conflict.local_version = row_version_of_slot(conflict.local_row, cx->version);
		conflict.concurrent = !apply_was_seen(cx, conflict.local_version);
	}
	row_to_root_slot(ar);
	become_worker(saved);
	conflict.remote_row = ar->root_slot;
	conflict.remote_present = ar->present;
	conflict_record(&conflict);
	unique_clashes_free(clashes);
	conflict_before_commit(cx->provider);
}

void
apply_record_stop(ApplyContext *cx, const char *detail)
{
	OwnTransaction t;
	char	   *prefix;

	Assert(!cx->active && !IsTransactionState());
	if (!cx->action || (strcmp(cx->action, "INSERT") != 0 && strcmp(cx->action, "UPDATE") != 0))
		return;
	t = own_transaction_begin_sql();
	prefix = psprintf("transaction %X/%X of node %d: ", LSN_FORMAT_ARGS(cx->begin.origin_lsn),
					  cx->begin.origin);
	pulse_begin();
	if (!stop_is_recorded(prefix))
		record_stop(cx, psprintf("%s%s", prefix, detail));
	pulse_end();
	relation_close_all(cx);
	target_close_all();
	own_transaction_end(&t);
}

/* Appends one value of the failed row as text. */
static void
failure_append_value(StringInfo buf, const WireAttribute *att, WireColumn *c)
{
	ValueReader reader;
	Oid			out;
	bool		varlena;

	if (c->kind == WIRE_TEXT)
	{
		appendBinaryStringInfo(buf, c->data, Min(c->len, 100));
		return;
	}
	if (c->kind == WIRE_NULL || c->kind == WIRE_UNCHANGED || c->kind == WIRE_AWAITED ||
		att->typid >= FirstGenbkiObjectId)
	{
		appendStringInfoString(buf, c->kind == WIRE_NULL ? "null" : "...");
		return;
	}
	value_reader_init(&reader, att, att->typid, att->typmod);
	getTypeOutputInfo(att->typid, &out, &varlena);
	appendStringInfoString(buf, OidOutputFunctionCall(out, value_read(&reader, c)));
}

bool
apply_failed_row_table(ApplyContext *cx, LostTable *table)
{
	const WireRelation *remote = cx->action ? relation_remote(cx, cx->remote_id) : NULL;

	if (!remote)
		return false;
	*table = (LostTable) {
		.nspname = remote->nspname,.relname = remote->relname,.remote_relid = remote->relid,
		.origin = cx->begin.origin,.origin_lsn = cx->begin.origin_lsn
	};
	if (relation_in_use(cx) == RELATIONS_KEPT)
	{
		/* the oid in the message is that of the node that kept the change */
		table->remote_relid = cx->relid;
		table->remote_node = cx->provider;
	}
	return true;
}

bool
apply_failed_table(ApplyContext *cx, LostTable *table)
{
	Oid			root = OidIsValid(cx->doubtful) ? table_root(cx->doubtful) : InvalidOid;

	Assert(IsTransactionState());
	if (apply_failed_row_table(cx, table))
		return true;
	if (!OidIsValid(root) || !get_rel_name(root))
		return false;
	*table = (LostTable) {
		.nspname = get_namespace_name(get_rel_namespace(root)),.relname = get_rel_name(root),
		.origin = cx->begin.origin,.origin_lsn = cx->begin.origin_lsn
	};
	return true;
}

bool
apply_lost_table(ApplyContext *cx, LostTable *table)
{
	return apply_failed_row_table(cx, table) &&
		   !relation_exists(relation_remote(cx, cx->remote_id));
}

bool
apply_failed_keeping(ApplyContext *cx)
{
	return cx->keeping;
}

Moment
apply_began(ApplyContext *cx)
{
	return cx->began;
}

void
apply_pass_over_table(ApplyContext *cx)
{
	relation_pass_over(cx, cx->remote_id);
}

/*
 * Returns a description of a failure without a current row: constraints at the end of the
 * transaction. Returns NULL if something else failed.
 */
static char *
failed_at_end(ApplyContext *cx)
{
	Oid			nsp = OidIsValid(cx->doubtful) ? get_rel_namespace(cx->doubtful) : InvalidOid;

	return OidIsValid(nsp) ? psprintf("constraints of table \"%s.%s\"", get_namespace_name(nsp),
									  get_rel_name(cx->doubtful))
						   : NULL;
}

char *
apply_failed_row(ApplyContext *cx)
{
	const WireRelation *remote = cx->action ? relation_remote(cx, cx->remote_id) : NULL;
	bool		by_key;
	WireTuple  *t;
	StringInfoData buf;
	int			shown = 0;

	Assert(IsTransactionState());
	if (!remote)
		return failed_at_end(cx);
	if (strcmp(cx->action, "TRUNCATE") == 0)
		return psprintf("TRUNCATE of table \"%s.%s\"", remote->nspname, remote->relname);
	t = cx->has_old ? &cx->oldtup : &cx->newtup;
	by_key = cx->has_old && remote->identity == WIRE_IDENTITY_KEY;
	initStringInfo(&buf);
	for (int i = 0; i < remote->natts && shown < 8; i++)
	{
		int			pos = by_key ? remote->atts[i].keypos - 1 : i;

		if ((remote->nkeys > 0 && remote->atts[i].keypos == 0) || pos < 0 || pos >= t->ncolumns)
			continue;
		appendStringInfo(&buf, "%s%s=", shown++ ? ", " : "", remote->atts[i].name);
		failure_append_value(&buf, &remote->atts[i], &t->columns[pos]);
	}
	return psprintf("%s in table \"%s.%s\", row (%s)", cx->action,
					remote->nspname, remote->relname, buf.data);
}
