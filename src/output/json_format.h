/*
 * json_format.h
 *		Changes as JSON, one object a line, for any reader.
 */
#ifndef REPLICATION_PLUGIN_JSON_FORMAT_H
#define REPLICATION_PLUGIN_JSON_FORMAT_H

#include "replication/logical.h"
#include "replication/reorderbuffer.h"

#include "output/options.h"

typedef struct JsonStream
{
	OutputOptions options;
	MemoryContext context;		/* reset after each object */
} JsonStream;

extern JsonStream *json_startup(LogicalDecodingContext *ctx, OutputOptions *options);
extern void json_begin(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn);
extern void json_commit(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn, XLogRecPtr lsn);
extern void json_change(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn,
						Relation rel, ReorderBufferChange *change);
extern void json_truncate(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn,
						  int nrels, Relation rels[], ReorderBufferChange *change);
extern void json_message(LogicalDecodingContext *ctx, JsonStream *s, ReorderBufferTXN *txn, XLogRecPtr lsn,
						 bool transactional, const char *prefix, Size size, const char *content);

#endif							/* REPLICATION_PLUGIN_JSON_FORMAT_H */
