/*
 * plugin.h
 *		The entry point of the output plugin.
 */
#ifndef REPLICATION_PLUGIN_OUTPUT_PLUGIN_H
#define REPLICATION_PLUGIN_OUTPUT_PLUGIN_H

#include "replication/output_plugin.h"

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

#endif							/* REPLICATION_PLUGIN_OUTPUT_PLUGIN_H */
