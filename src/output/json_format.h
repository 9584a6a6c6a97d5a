/*
 * json_format.h
 *		Output format for any reader: one JSON object per line, like wal2json's format-version 2.
 */
#ifndef REPLICATION_PLUGIN_JSON_FORMAT_H
#define REPLICATION_PLUGIN_JSON_FORMAT_H

#include "postgres.h"

#include "replication/logical.h"
#include "replication/output_plugin.h"

#include "model/version.h"
#include "output/options.h"

/*
 * Sets the callbacks of the format. filter_origins: changes of some replication origins are
 * omitted.
 */
extern void json_format_set_callbacks(OutputPluginCallbacks *callbacks, bool filter_origins);

/*
 * Starts a stream; the startup callback calls it. local_node: INVALID_NODE_ID if this database is
 * not in a group.
 */
extern void json_format_start(LogicalDecodingContext *ctx, const JsonOptions *options,
							  NodeId local_node);

#endif							/* REPLICATION_PLUGIN_JSON_FORMAT_H */
