/*
 * plugin.c
 *		The entry point of the output plugin and its startup: chooses the format of a stream.
 *
 * The format is known only at startup, so the startup callback sets the decoder's callbacks. Until
 * then they are those of the native format, because the decoder requires some when it loads the
 * plugin. The startup callback is also the only one that may read this node's own tables: later
 * there is a historic snapshot or none.
 */
#include "postgres.h"

#include "replication/logical.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/own_transaction.h"
#include "base/shmem.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "output/confirm_watch.h"
#include "output/json_format.h"
#include "output/native.h"
#include "output/options.h"
#include "output/plugin.h"
#include "output/server_stop.h"
#include "shared/origin_map.h"

static void
plugin_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	native_begin(ctx, ctx->output_plugin_private, txn);
}

static void
plugin_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
			  ReorderBufferChange *c)
{
	native_change(ctx, ctx->output_plugin_private, txn, rel, c);
}

static void
truncate_rels(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrels, Relation rels[],
			  ReorderBufferChange *c)
{
	native_truncate(ctx, ctx->output_plugin_private, txn, nrels, rels);
}

static void
plugin_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size size, const char *content)
{
	native_message(ctx, ctx->output_plugin_private, txn, transactional, prefix, size, content);
}

static void
plugin_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	native_commit(ctx, ctx->output_plugin_private, txn);
}

/* Called for each record. Returns true to omit the record. */
static bool
filter_by_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	return native_filter(ctx, ctx->output_plugin_private, origin);
}

static void
shutdown_native(LogicalDecodingContext *ctx)
{
	server_stop_forget();
	confirm_watch_end();
	sent_relation_shutdown();
}

/* Sets the callbacks of the native stream. */
static void
set_native_callbacks(OutputPluginCallbacks *cb)
{
	cb->begin_cb = plugin_begin;
	cb->change_cb = plugin_change;
	cb->truncate_cb = truncate_rels;
	cb->message_cb = plugin_message;
	cb->commit_cb = plugin_commit;
	cb->filter_by_origin_cb = filter_by_origin;
	cb->shutdown_cb = shutdown_native;
}

/*
 * Returns the number of this node, or INVALID_NODE_ID if the database is not in a group. Uses a
 * separate transaction if none is running.
 */
static NodeId
local_node_id(void)
{
	OwnTransaction t = own_transaction_ensure();
	NodeId		id;

	PushActiveSnapshot(GetTransactionSnapshot());
	id = extension_exists() ? nodes_local_id() : INVALID_NODE_ID;
	PopActiveSnapshot();
	own_transaction_end(&t);
	return id;
}

/* Starts the native stream for another node of the group. */
static void
start_native(LogicalDecodingContext *ctx)
{
	NativeOptions options;

	shmem_require();			/* otherwise it is unknown which origins belong to nodes */
	options_parse_native(ctx->output_plugin_options, &options);
	origin_map_ensure_loaded();
	ctx->output_plugin_private = native_startup(ctx, &options);
	server_stop_watch();
	confirm_watch_begin();
}

/* Starts a stream of JSON. */
static void
start_json(LogicalDecodingContext *ctx)
{
	JsonOptions options;

	options_parse_json(ctx->output_plugin_options, &options);
	origin_map_ensure_loaded();
	json_format_set_callbacks(&ctx->callbacks, options.filter_origins != NIL);
	json_format_start(ctx, &options, local_node_id());
}

/* startup_cb */
static void
plugin_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	MemoryContext caller = MemoryContextSwitchTo(ctx->context);

	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = false;
	if (is_init)
		ctx->callbacks.filter_by_origin_cb = NULL;	/* a slot is being created: nothing is sent */
	else if (options_want_json(ctx->output_plugin_options))
	{
		options->output_type = OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
		start_json(ctx);
	}
	else
		start_native(ctx);
	MemoryContextSwitchTo(caller);
}

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = plugin_startup;
	set_native_callbacks(callbacks);
}
