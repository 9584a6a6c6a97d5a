/*
 * json_format.c
 *		Output format for any reader: one JSON object per line, like wal2json's format-version 2.
 *
 *	{"action":"B"}									begin
 *	{"action":"I","schema":...,"table":...,"columns":[{"name":...,"type":...,"value":...},...]}
 *	{"action":"U",...,"columns":[...],"identity":[...]}	identity: the old key, or the old row
 *	{"action":"D",...,"identity":[...]}				under REPLICA IDENTITY FULL
 *	{"action":"T","schema":...,"table":...}			truncate, one for each table
 *	{"action":"M","transactional":...,"prefix":...,"content":...}
 *	{"action":"C"}									commit
 *
 * Options add xid, timestamp, origin, lsn, nextlsn and pk, and typeoid, optional, position and
 * default for columns.
 *
 * The format extends wal2json's as follows. Begin and commit have origin_node and origin_lsn: the
 * member of the group on which the transaction was first written, and its position in the WAL
 * there. Updates have "unchanged": the names of TOASTed columns whose values are not in the WAL.
 * NaN and infinities are strings. Content that is not text is given in hexadecimal digits, with
 * "content_encoding":"hex". Partitions appear under their own names.
 *
 * The format needs no shared memory, so it works if the library is not preloaded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "mb/pg_wchar.h"
#include "replication/origin.h"
#include "replication/reorderbuffer.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "output/change_name.h"
#include "output/json_format.h"
#include "output/json_relation.h"
#include "output/relation_cache.h"
#include "shared/origin_map.h"

/* hidden changes after which the walsender can handle its timeouts */
#define CHANGES_PER_PROGRESS	100

typedef struct JsonStream
{
	JsonOptions options;
	NodeId		local_node;
	RelationCache *relations;
	MemoryContext change_context;	/* reset after every object */
	bool		begun;			/* begin of the current transaction is written */
	int			hidden_changes;
} JsonStream;

static JsonStream *
stream_of(LogicalDecodingContext *ctx)
{
	return (JsonStream *) ctx->output_plugin_private;
}

void
json_format_start(LogicalDecodingContext *ctx, const JsonOptions *options, NodeId local_node)
{
	JsonStream *stream = MemoryContextAllocZero(ctx->context, sizeof(JsonStream));

	stream->options = *options;
	stream->local_node = local_node;
	stream->relations = relation_cache_create(ctx->context);
	stream->change_context = AllocSetContextCreate(ctx->context, "change as JSON",
												   ALLOCSET_DEFAULT_SIZES);
	ctx->output_plugin_private = stream;
}

/* Lets the walsender handle its timeouts while nothing is shown. */
static void
count_hidden(LogicalDecodingContext *ctx)
{
	JsonStream *stream = stream_of(ctx);

	if (++stream->hidden_changes < CHANGES_PER_PROGRESS)
		return;
	stream->hidden_changes = 0;
	OutputPluginUpdateProgress(ctx, false);
}

/* ---------- parts of objects ---------- */

static void
append_lsn(StringInfo out, const char *name, XLogRecPtr lsn)
{
	appendStringInfo(out, ",\"%s\":\"%X/%X\"", name, LSN_FORMAT_ARGS(lsn));
}

/*
 * Returns true for transactions of this node, including those whose commit timestamp the clock has
 * set (shared/commit_stamp.c).
 */
static bool
is_local(RepOriginId origin)
{
	return origin == InvalidRepOriginId || origin == DoNotReplicateId;
}

/* Appends the fields that every object of a transaction can have. */
static void
append_transaction(StringInfo out, const JsonOptions *options, ReorderBufferTXN *txn)
{
	/* a message that is not part of a transaction */
	if (txn == NULL)
	{
		appendStringInfo(out, "%s%s%s", options->include_xids ? ",\"xid\":null" : "",
						 options->include_timestamp ? ",\"timestamp\":null" : "",
						 options->include_origin ? ",\"origin\":null" : "");
		return;
	}
	if (options->include_xids)
		appendStringInfo(out, ",\"xid\":%u", txn->xid);
	if (options->include_timestamp)
		appendStringInfo(out, ",\"timestamp\":\"%s\"",
						 timestamptz_to_str(decoded_commit_time(txn)));
	if (options->include_origin)
		appendStringInfo(out, ",\"origin\":%u",
						 is_local(txn->origin_id) ? InvalidRepOriginId : txn->origin_id);
}

/* Appends the node on which the transaction was first written, if that is known. */
static void
append_origin(StringInfo out, const JsonStream *stream, ReorderBufferTXN *txn)
{
	NodeId		node = origin_map_node(txn->origin_id);
	XLogRecPtr	lsn = txn->origin_lsn;

	if (!stream->options.include_origin_node)
		return;
	if (node == ORIGIN_NODE_LOCAL)
	{
		node = stream->local_node;
		lsn = txn->end_lsn;
	}
	if (node <= INVALID_NODE_ID)
		return;
	appendStringInfo(out, ",\"origin_node\":%d", node);
	append_lsn(out, "origin_lsn", lsn);
}

/* Appends a value that is not null. */
static void
json_format_append_value(StringInfo out, JsonColumn *column, Datum value)
{
	char	   *text;

	if (column->kind == JSON_BYTES)
	{
		bytea	   *bytes = DatumGetByteaPP(value);
		int			len = VARSIZE_ANY_EXHDR(bytes);

		appendStringInfoChar(out, '"');
		enlargeStringInfo(out, 2 * len + 1);
		out->len += hex_encode(VARDATA_ANY(bytes), len, out->data + out->len);
		out->data[out->len] = '\0';
		appendStringInfoChar(out, '"');
		return;
	}
	if (column->varlena)
		value = PointerGetDatum(PG_DETOAST_DATUM(value));
	text = OutputFunctionCall(&column->out, value);
	if (column->kind == JSON_BOOLEAN)
		appendStringInfoString(out, *text == 't' ? "true" : "false");
	else if (column->kind == JSON_NUMBER && (isdigit((unsigned char) text[0]) ||
											 (text[0] == '-' && isdigit((unsigned char) text[1]))))
		appendStringInfoString(out, text);
	else
		json_append_string(out, text);
}

/* Returns true for a TOASTed value that is not in the WAL because the update did not change it. */
static inline bool
is_unchanged(const JsonColumn *column, Datum value)
{
	return column->varlena && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

/* Appends one column of a list, if its value is known. */
static void
append_column(StringInfo out, bool *first, JsonColumn *column, const Datum *values,
			  const bool *nulls, const char *tail)
{
	if (!nulls[column->place] && is_unchanged(column, values[column->place]))
		return;
	if (!*first)
		appendStringInfoChar(out, ',');
	*first = false;
	appendStringInfoString(out, column->head);
	if (nulls[column->place])
		appendStringInfoString(out, "null");
	else
		json_format_append_value(out, column, values[column->place]);
	appendStringInfoString(out, tail);
	appendStringInfoChar(out, '}');
}

/* Appends the new row. */
static void
json_format_append_columns(StringInfo out, JsonRelation *rel)
{
	bool		first = true;

	appendStringInfoString(out, ",\"columns\":[");
	for (int i = 0; i < rel->ncolumns; i++)
		append_column(out, &first, &rel->columns[i], rel->values, rel->nulls, rel->columns[i].tail);
	appendStringInfoChar(out, ']');
}

/* Appends the names of columns whose values are unknown. */
static void
append_unchanged(StringInfo out, JsonRelation *rel)
{
	bool		first = true;

	for (int i = 0; i < rel->ncolumns; i++)
	{
		JsonColumn *column = &rel->columns[i];

		if (rel->nulls[column->place] || !is_unchanged(column, rel->values[column->place]))
			continue;
		appendStringInfoString(out, first ? ",\"unchanged\":[" : ",");
		appendStringInfoString(out, column->name);
		first = false;
	}
	if (!first)
		appendStringInfoChar(out, ']');
}

/* Appends the identity of the old row: the whole row, or the columns of the replica identity. */
static void
append_identity(StringInfo out, JsonRelation *rel, const Datum *values, const bool *nulls,
				bool whole)
{
	bool		first = true;

	appendStringInfoString(out, ",\"identity\":[");
	for (int i = 0; i < rel->ncolumns; i++)
	{
		if (whole || rel->columns[i].identity)
			append_column(out, &first, &rel->columns[i], values, nulls, "");
	}
	appendStringInfoChar(out, ']');
}

/* ---------- begin and commit ---------- */

/* Writes begin or commit. */
static void
write_boundary(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, char action)
{
	JsonStream *stream = stream_of(ctx);

	if (!stream->options.include_transaction)
		return;
	OutputPluginPrepareWrite(ctx, true);
	appendStringInfo(ctx->out, "{\"action\":\"%c\"", action);
	append_transaction(ctx->out, &stream->options, txn);
	append_origin(ctx->out, stream, txn);
	if (stream->options.include_lsn)
	{
		append_lsn(ctx->out, "lsn", txn->final_lsn);
		append_lsn(ctx->out, "nextlsn", txn->end_lsn);
	}
	appendStringInfoChar(ctx->out, '}');
	OutputPluginWrite(ctx, true);
}

/* Writes begin, if it is not written yet. */
static void
need_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	JsonStream *stream = stream_of(ctx);

	if (stream->begun)
		return;
	write_boundary(ctx, txn, 'B');
	stream->begun = true;
}

static void
json_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	JsonStream *stream = stream_of(ctx);

	stream->begun = false;
	stream->hidden_changes = 0;
	if (!stream->options.skip_empty)
		need_begin(ctx, txn);
}

static void
json_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	JsonStream *stream = stream_of(ctx);

	OutputPluginUpdateProgress(ctx, !stream->begun);
	if (stream->begun)
		write_boundary(ctx, txn, 'C');
	stream->begun = false;
}

/* ---------- changes ---------- */

/* Starts the object of a change. */
static StringInfo
start_object(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, char action, XLogRecPtr lsn)
{
	JsonStream *stream = stream_of(ctx);

	OutputPluginPrepareWrite(ctx, true);
	appendStringInfo(ctx->out, "{\"action\":\"%c\"", action);
	append_transaction(ctx->out, &stream->options, txn);
	if (stream->options.include_lsn)
		append_lsn(ctx->out, "lsn", lsn);
	return ctx->out;
}

/* Ends the object. */
static void
end_object(LogicalDecodingContext *ctx)
{
	appendStringInfoChar(ctx->out, '}');
	OutputPluginWrite(ctx, true);
	stream_of(ctx)->hidden_changes = 0;
}

/* Deforms the new and the old row in the WAL. Returns true if there is an old row. */
static bool
deform_rows(JsonRelation *rel, TupleDesc desc, ReorderBufferChange *change)
{
	if (change->data.tp.newtuple)
		heap_deform_tuple(decoded_tuple(change->data.tp.newtuple), desc, rel->values, rel->nulls);
	if (change->data.tp.oldtuple)
		heap_deform_tuple(decoded_tuple(change->data.tp.oldtuple), desc, rel->old_values,
						  rel->old_nulls);
	return change->data.tp.oldtuple != NULL;
}

/* Takes TOASTed values that the new row lacks from the old row, if that has them. */
static void
json_format_complete_row(JsonRelation *rel)
{
	for (int i = 0; i < rel->ncolumns; i++)
	{
		int			p = rel->columns[i].place;

		if (!rel->nulls[p] && is_unchanged(&rel->columns[i], rel->values[p]) && !rel->old_nulls[p])
			rel->values[p] = rel->old_values[p];
	}
}

/* Appends the rows of an update. */
static void
append_update(StringInfo out, JsonRelation *rel, bool has_old)
{
	if (has_old)
		json_format_complete_row(rel);
	json_format_append_columns(out, rel);
	if (has_old)
		append_identity(out, rel, rel->old_values, rel->old_nulls, rel->full);
	else
		append_identity(out, rel, rel->values, rel->nulls, false);
	append_unchanged(out, rel);
}

/* Writes a change of a relation that is shown. */
static void
write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, JsonRelation *rel,
			 TupleDesc desc, ReorderBufferChange *change)
{
	bool		has_old = deform_rows(rel, desc, change);
	char		action = change->action == REORDER_BUFFER_CHANGE_INSERT ? 'I' :
		change->action == REORDER_BUFFER_CHANGE_UPDATE ? 'U' : 'D';
	StringInfo	out;

	need_begin(ctx, txn);
	out = start_object(ctx, txn, action, change->lsn);
	appendStringInfo(out, ",%s", rel->name);
	if (action == 'I')
		json_format_append_columns(out, rel);
	else if (action == 'U')
		append_update(out, rel, has_old);
	else if (has_old)
		append_identity(out, rel, rel->old_values, rel->old_nulls, rel->full);
	else
		appendStringInfoString(out, ",\"identity\":[]");
	appendStringInfoString(out, rel->pk);
	end_object(ctx);
}

/* Returns true for actions that are not requested. */
static bool
is_hidden(const JsonOptions *options, enum ReorderBufferChangeType action)
{
	return action == REORDER_BUFFER_CHANGE_INSERT ? options->hide_insert :
		action == REORDER_BUFFER_CHANGE_UPDATE ? options->hide_update : options->hide_delete;
}

/* The current change. */
typedef struct Where
{
	Relation	rel;
	JsonRelation *known;		/* NULL: not known yet */
	ReorderBufferTXN *txn;
	ReorderBufferChange *change;
} Where;

/*
 * Error context callback: describes the change. Adds a hint to an error that only leaving out the
 * table avoids.
 */
static void
json_format_error_context(void *arg)
{
	Where	   *w = arg;
	AttrNumber	key[INDEX_MAX_KEYS];
	int			n = 0;

	for (int i = 0; w->known && w->known->shown && i < w->known->ncolumns && n < INDEX_MAX_KEYS;
		 i++)
	{
		if (w->known->columns[i].identity)
			key[n++] = w->known->columns[i].place + 1;
	}
	change_name_context(w->rel, w->change, key, n,
						psprintf("transaction %u, which ends at %X/%X", w->txn->xid,
								 LSN_FORMAT_ARGS(w->txn->end_lsn)));
	if (geterrcode() == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		errhint("A change must be shorter than 1 GB as JSON. The option \"exclude-tables\" leaves the table out.");
}

static void
json_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation,
			ReorderBufferChange *change)
{
	Where		where = {.rel = relation,.txn = txn,.change = change};
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = json_format_error_context,
									 .arg = &where};
	JsonStream *stream = stream_of(ctx);
	MemoryContext caller = MemoryContextSwitchTo(stream->change_context);
	JsonRelation *rel;

	error_context_stack = &callback;
	rel = where.known = json_relation_get(stream->relations, &stream->options, relation);
	if (rel->shown && !is_hidden(&stream->options, change->action))
		write_change(ctx, txn, rel, RelationGetDescr(relation), change);
	else
		count_hidden(ctx);
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(stream->change_context);
}

static void
json_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
			  Relation relations[], ReorderBufferChange *change)
{
	JsonStream *stream = stream_of(ctx);
	MemoryContext caller = MemoryContextSwitchTo(stream->change_context);

	for (int i = 0; i < nrelations; i++)
	{
		JsonRelation *rel = json_relation_get(stream->relations, &stream->options, relations[i]);

		if (!rel->shown || stream->options.hide_truncate)
			continue;
		need_begin(ctx, txn);
		appendStringInfo(start_object(ctx, txn, 'T', change->lsn), ",%s", rel->name);
		end_object(ctx);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(stream->change_context);
}

/* Appends the content of a message, which can have any bytes. */
static void
append_content(StringInfo out, const char *content, Size size)
{
	if (pg_verifymbstr(content, size, true))
	{
		appendStringInfoString(out, ",\"content\":");
		json_append_string(out, pnstrdup(content, size));
		return;
	}
	appendStringInfoString(out, ",\"content\":\"");
	enlargeStringInfo(out, 2 * size + 1);
	out->len += hex_encode(content, size, out->data + out->len);
	out->data[out->len] = '\0';
	appendStringInfoString(out, "\",\"content_encoding\":\"hex\"");
}

/* Returns true if a list contains a text. */
static bool
has_text(List *list, const char *text)
{
	ListCell   *lc;

	foreach(lc, list)
	{
		if (strcmp(lfirst(lc), text) == 0)
			return true;
	}
	return false;
}

/* Returns true if messages with a prefix are shown. */
static bool
is_wanted_prefix(const JsonOptions *options, const char *prefix)
{
	return !has_text(options->filter_prefixes, prefix) &&
		(!options->select_prefixes || has_text(options->add_prefixes, prefix));
}

static void
json_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			 bool transactional, const char *prefix, Size size, const char *content)
{
	JsonStream *stream = stream_of(ctx);
	MemoryContext caller;
	StringInfo	out;

	/* messages of the extension only keep a transaction from being empty */
	if (strcmp(prefix, PLUGIN_NAME) == 0 || !is_wanted_prefix(&stream->options, prefix))
	{
		count_hidden(ctx);
		return;
	}
	caller = MemoryContextSwitchTo(stream->change_context);
	if (transactional)
	{
		need_begin(ctx, txn);
		out = start_object(ctx, txn, 'M', lsn);
	}
	else
	{
		OutputPluginPrepareWrite(ctx, true);
		out = ctx->out;
		appendStringInfoString(out, "{\"action\":\"M\"");
		append_transaction(out, &stream->options, NULL);
		if (stream->options.include_lsn)
			append_lsn(out, "lsn", lsn);
	}
	appendStringInfo(out, ",\"transactional\":%s,\"prefix\":", transactional ? "true" : "false");
	json_append_string(out, prefix);
	append_content(out, content, size);
	end_object(ctx);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(stream->change_context);
}

/* filter_by_origin_cb, which is called for each record. Returns true to omit the record. */
static bool
json_filter(LogicalDecodingContext *ctx, RepOriginId origin)
{
	return !is_local(origin) && list_member_int(stream_of(ctx)->options.filter_origins, origin);
}

void
json_format_set_callbacks(OutputPluginCallbacks *callbacks, bool filter_origins)
{
	callbacks->begin_cb = json_begin;
	callbacks->change_cb = json_change;
	callbacks->truncate_cb = json_truncate;
	callbacks->commit_cb = json_commit;
	callbacks->message_cb = json_message;
	callbacks->filter_by_origin_cb = filter_origins ? json_filter : NULL;
}
