/*
 * plugin.c
 *		The output plugin: hands PostgreSQL's callbacks to one of two formats.
 */
#include "postgres.h"

#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "utils/memutils.h"

#include "catalog/origin_map.h"
#include "output/json_format.h"
#include "output/native.h"
#include "output/options.h"
#include "output/plugin.h"

/* One of the two is set. */
typedef struct PluginData
{
	NativeStream *native;
	JsonStream *json;
} PluginData;

/* A slot is created (is_init), or decoding starts. */
static void
startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt, bool is_init)
{
	PluginData *data = palloc0(sizeof(PluginData));
	OutputOptions options;

	ctx->output_plugin_private = data;
	opt->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	if (is_init)
		return;
	options_parse(&options, ctx->output_plugin_options);
	origin_map_ensure_loaded();
	if (options.json)
	{
		opt->output_type = OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
		data->json = json_startup(ctx, &options);
	}
	else
		data->native = native_startup(ctx, &options);
}

static void
begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->native)
		native_begin(ctx, data->native, txn);
	else
		json_begin(ctx, data->json, txn);
}

static void
change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel, ReorderBufferChange *c)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->native)
		native_change(ctx, data->native, txn, rel, c);
	else
		json_change(ctx, data->json, txn, rel, c);
}

static void
truncate_rels(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrels, Relation rels[],
			  ReorderBufferChange *c)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->native)
		native_truncate(ctx, data->native, txn, nrels, rels);
	else
		json_truncate(ctx, data->json, txn, nrels, rels, c);
}

static void
message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn, bool transactional,
		const char *prefix, Size size, const char *content)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->native)
		native_message(ctx, data->native, txn, transactional, prefix);
	else
		json_message(ctx, data->json, txn, lsn, transactional, prefix, size, content);
}

static void
commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->native)
		native_commit(ctx, data->native, txn);
	else
		json_commit(ctx, data->json, txn, lsn);
}

/* Called for each record; true keeps it out. */
static bool
filter_by_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	PluginData *data = ctx->output_plugin_private;

	return data->native ? native_filter(ctx, data->native, origin) : false;
}

static void
shutdown_plugin(LogicalDecodingContext *ctx)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->native)
		sent_relation_shutdown();
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = startup;
	cb->begin_cb = begin;
	cb->change_cb = change;
	cb->truncate_cb = truncate_rels;
	cb->message_cb = message;
	cb->commit_cb = commit;
	cb->filter_by_origin_cb = filter_by_origin;
	cb->shutdown_cb = shutdown_plugin;
}
