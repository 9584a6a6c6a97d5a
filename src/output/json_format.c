/*
 * json_format.c
 *		Changes as JSON, one object a line, for any reader.
 *
 * The keys are those of wal2json's format-version 2 where the meaning is the same:
 *
 *	action		B, I, U, D, T, M, C
 *	xid, timestamp, lsn, nextlsn	as the options ask
 *	schema, table
 *	columns		[{name, type, value}] of the new row; a value that an update did not
 *				touch and the WAL does not have is left out
 *	identity	[{name, type, value}] of the old row: key columns, or the whole row
 *	transactional, prefix, content		of messages; content is base64 where it is no valid text
 *				("encoding": "base64")
 * and on B and C, where the transaction came from another node: origin_node, origin_lsn.
 *
 * Generated columns and the extension's own tables are left out. The output is always
 * valid JSON: numbers that JSON does not have (NaN, Infinity) are strings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog/names.h"
#include "catalog/origin_map.h"
#include "catalog/table_info.h"
#include "output/json_format.h"

JsonStream *
json_startup(LogicalDecodingContext *ctx, OutputOptions *options)
{
	JsonStream *s = palloc0(sizeof(JsonStream));

	s->options = *options;
	s->context = AllocSetContextCreate(ctx->context, "json object", ALLOCSET_DEFAULT_SIZES);
	return s;
}

/* ---------- pieces ---------- */

/* Starts an object. */
static MemoryContext
open_object(LogicalDecodingContext *ctx, JsonStream *s, const char *action, TransactionId xid)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);

	OutputPluginPrepareWrite(ctx, true);
	appendStringInfo(ctx->out, "{\"action\":\"%s\"", action);
	if (s->options.include_xids && TransactionIdIsValid(xid))
		appendStringInfo(ctx->out, ",\"xid\":%u", xid);
	return old;
}

/* Ends it. */
static void
close_object(LogicalDecodingContext *ctx, JsonStream *s, MemoryContext old)
{
	appendStringInfoChar(ctx->out, '}');
	OutputPluginWrite(ctx, true);
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->context);
}

/* Appends ,"key":"text". */
static void
add_text(StringInfo out, const char *key, const char *text)
{
	appendStringInfo(out, ",\"%s\":", key);
	escape_json(out, text);
}

/* Appends a position. */
static void
add_lsn(StringInfo out, const char *key, XLogRecPtr lsn)
{
	appendStringInfo(out, ",\"%s\":\"%X/%X\"", key, LSN_FORMAT_ARGS(lsn));
}

/* Appends where a transaction came from, and its time. */
static void
add_transaction(StringInfo out, JsonStream *s, ReorderBufferTXN *txn)
{
	NodeId		node = origin_map_node(txn->origin_id);

	if (s->options.include_timestamp)
		add_text(out, "timestamp", timestamptz_to_str(txn->xact_time.commit_time));
	if (node > 0)
	{
		appendStringInfo(out, ",\"origin_node\":%d", node);
		add_lsn(out, "origin_lsn", txn->origin_lsn);
	}
}

/* True if a number's text is one in JSON too. */
static bool
is_json_number(const char *text)
{
	return text[0] && strspn(text, "0123456789+-eE.") == strlen(text);
}

/* Appends a value as JSON. */
static void
add_value(StringInfo out, Oid typid, Datum value)
{
	Oid			func;
	bool		varlena;
	char	   *text;

	if (typid == BOOLOID)
	{
		appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
		return;
	}
	getTypeOutputInfo(typid, &func, &varlena);
	if (varlena)
		value = PointerGetDatum(PG_DETOAST_DATUM(value));
	text = OidOutputFunctionCall(func, value);
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			if (is_json_number(text))
			{
				appendStringInfoString(out, text);
				return;
			}
			break;
		default:
			break;
	}
	escape_json(out, text);
}

/* Appends one column. */
static void
add_column(StringInfo out, JsonStream *s, Form_pg_attribute att, Datum value, bool isnull, bool first)
{
	if (!first)
		appendStringInfoChar(out, ',');
	appendStringInfoString(out, "{\"name\":");
	escape_json(out, NameStr(att->attname));
	if (s->options.include_types)
		add_text(out, "type", format_type_with_typemod(att->atttypid, att->atttypmod));
	appendStringInfoString(out, ",\"value\":");
	if (isnull)
		appendStringInfoString(out, "null");
	else
		add_value(out, att->atttypid, value);
	appendStringInfoChar(out, '}');
}

/* True if attnum is among the n key columns. */
static bool
is_key(AttrNumber attnum, const AttrNumber *keys, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (keys[i] == attnum)
			return true;
	}
	return false;
}

/* Appends the columns of a row under a key; of an old row without REPLICA IDENTITY FULL only the key's. */
static void
add_row(StringInfo out, JsonStream *s, const char *key, Relation rel, HeapTuple tuple, bool only_key)
{
	TupleDesc	desc = RelationGetDescr(rel);
	AttrNumber *keys = NULL;
	int			nkeys = only_key ? table_key_attributes(rel, &keys) : 0;
	bool		first = true;

	appendStringInfo(out, ",\"%s\":[", key);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		value;

		if (att->attisdropped || att->attgenerated || (only_key && !is_key(i + 1, keys, nkeys)))
			continue;
		value = heap_getattr(tuple, i + 1, desc, &isnull);
		if (!isnull && att->attlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
			continue;
		add_column(out, s, att, value, isnull, first);
		first = false;
	}
	appendStringInfoChar(out, ']');
}

/* ---------- which tables ---------- */

/* True if a name fits a pattern: the same, or an asterisk. */
static bool
part_fits(const char *pattern, int len, const char *name)
{
	return (len == 1 && pattern[0] == '*') ||
		(strlen(name) == len && strncmp(pattern, name, len) == 0);
}

/* True if a table fits one of the patterns. */
static bool
fits(List *patterns, const char *schema, const char *table)
{
	ListCell   *lc;

	foreach(lc, patterns)
	{
		const char *pattern = lfirst(lc);
		const char *dot = strchr(pattern, '.');

		if (part_fits(pattern, dot - pattern, schema) && part_fits(dot + 1, strlen(dot + 1), table))
			return true;
	}
	return false;
}

/* True if changes of a table are shown. */
static bool
is_shown(JsonStream *s, Relation rel)
{
	const char *schema = get_namespace_name(RelationGetNamespace(rel));
	const char *table = RelationGetRelationName(rel);

	if (!schema)
		return false;
	if (s->options.include_tables && !fits(s->options.include_tables, schema, table))
		return false;
	if (!s->options.include_tables && strcmp(schema, EXTENSION_SCHEMA) == 0)
		return false;
	return !fits(s->options.exclude_tables, schema, table);
}

/* ---------- callbacks ---------- */

void
json_begin(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn)
{
	MemoryContext old = open_object(ctx, s, "B", txn->xid);

	add_transaction(ctx->out, s, txn);
	if (s->options.include_lsn)
	{
		add_lsn(ctx->out, "lsn", txn->final_lsn);
		add_lsn(ctx->out, "nextlsn", txn->end_lsn);
	}
	close_object(ctx, s, old);
}

void
json_commit(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	MemoryContext old = open_object(ctx, s, "C", txn->xid);

	add_transaction(ctx->out, s, txn);
	if (s->options.include_lsn)
	{
		add_lsn(ctx->out, "lsn", lsn);
		add_lsn(ctx->out, "nextlsn", txn->end_lsn);
	}
	close_object(ctx, s, old);
}

/* Appends time, position and table of a change. */
static void
add_table(StringInfo out, JsonStream *s, ReorderBufferTXN *txn, Relation rel, XLogRecPtr lsn)
{
	if (s->options.include_timestamp)
		add_text(out, "timestamp", timestamptz_to_str(txn->xact_time.commit_time));
	if (s->options.include_lsn)
		add_lsn(out, "lsn", lsn);
	add_text(out, "schema", get_namespace_name(RelationGetNamespace(rel)));
	add_text(out, "table", RelationGetRelationName(rel));
}

/* The letter of a change. */
static const char *
action_of(ReorderBufferChange *change)
{
	if (change->action == REORDER_BUFFER_CHANGE_INSERT)
		return "I";
	return change->action == REORDER_BUFFER_CHANGE_UPDATE ? "U" : "D";
}

void
json_change(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn,
			Relation rel, ReorderBufferChange *change)
{
	bool		full = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	MemoryContext old = MemoryContextSwitchTo(s->context);
	bool		shown = is_shown(s, rel);

	MemoryContextSwitchTo(old);
	if (!shown)
		return;
	old = open_object(ctx, s, action_of(change), txn->xid);
	add_table(ctx->out, s, txn, rel, change->lsn);
	if (change->data.tp.newtuple)
		add_row(ctx->out, s, "columns", rel, &change->data.tp.newtuple->tuple, false);
	if (change->data.tp.oldtuple)
		add_row(ctx->out, s, "identity", rel, &change->data.tp.oldtuple->tuple, !full);
	else if (change->action == REORDER_BUFFER_CHANGE_UPDATE && OidIsValid(table_key_index(rel)))
		add_row(ctx->out, s, "identity", rel, &change->data.tp.newtuple->tuple, true);
	close_object(ctx, s, old);
}

void
json_truncate(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn,
			  int nrels, Relation rels[], ReorderBufferChange *change)
{
	for (int i = 0; i < nrels; i++)
	{
		MemoryContext old;

		if (!is_shown(s, rels[i]))
			continue;
		old = open_object(ctx, s, "T", txn->xid);
		add_table(ctx->out, s, txn, rels[i], change->lsn);
		close_object(ctx, s, old);
	}
}

void
json_message(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn, XLogRecPtr lsn,
			 bool transactional, const char *prefix, Size size, const char *content)
{
	MemoryContext old;

	if (strcmp(prefix, PLUGIN_NAME) == 0)
		return;					/* between nodes */
	old = open_object(ctx, s, "M", transactional ? txn->xid : InvalidTransactionId);
	if (s->options.include_lsn)
		add_lsn(ctx->out, "lsn", lsn);
	appendStringInfo(ctx->out, ",\"transactional\":%s", transactional ? "true" : "false");
	add_text(ctx->out, "prefix", prefix);
	if (pg_verify_mbstr(GetDatabaseEncoding(), content, size, true))
		add_text(ctx->out, "content", pnstrdup(content, size));
	else
	{
		int			room = pg_b64_enc_len(size);
		char	   *text = palloc(room + 1);
		int			len = pg_b64_encode(content, size, text, room);

		text[Max(len, 0)] = '\0';
		add_text(ctx->out, "content", text);
		add_text(ctx->out, "encoding", "base64");
	}
	close_object(ctx, s, old);
}
