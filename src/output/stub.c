/*
 * stub.c
 *		Which origins stay out of a stream, and what is said in their place.
 *
 * Records of origins that the subscriber gets elsewhere are dropped before they enter
 * the reorder buffer. At the commit of such a transaction a stub is sent at once, from
 * within the filter callback: {origin node, its LSN, its commit timestamp}. At once,
 * because the walsender's keepalives tell the subscriber that everything before their
 * position has been sent; a stub that waited would be overtaken by one. No catalog
 * is read here: decoding has no snapshot at this point.
 *
 * The subscriber's own transactions are not sent back, but their stubs are: "I have seen
 * yours."
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlogreader.h"

#include "catalog/origin_map.h"
#include "output/native.h"

/* Sends the stub of the commit record that is being decoded. */
static void
send_stub(LogicalDecodingContext *ctx, NativeStream *s, NodeId node, xl_xact_parsed_commit *commit,
		  TransactionId xid)
{
	FrontierEntry entry = {.node = node,.lsn = commit->origin_lsn,.ts = commit->origin_timestamp};
	WireStub	stub = {.end_lsn = ctx->reader->EndRecPtr,.n = 1,.entries = &entry};
	bool		accept_writes = ctx->accept_writes;

	ctx->accept_writes = true;
	ctx->write_xid = xid;
	ctx->write_location = ctx->reader->EndRecPtr;
	OutputPluginPrepareWrite(ctx, true);
	wire_write_stub(ctx->out, &stub);
	OutputPluginWrite(ctx, true);
	ctx->accept_writes = accept_writes;
}

/* Reads the record at hand if it is a commit, and sends the stub. */
static void
stub_if_commit(LogicalDecodingContext *ctx, NativeStream *s, NodeId node)
{
	XLogReaderState *r = ctx->reader;
	uint8		info;
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(r) != RM_XACT_ID)
		return;
	info = XLogRecGetInfo(r) & XLOG_XACT_OPMASK;
	if (info != XLOG_XACT_COMMIT && info != XLOG_XACT_COMMIT_PREPARED)
		return;
	ParseCommitRecord(XLogRecGetInfo(r), (xl_xact_commit *) XLogRecGetData(r), &parsed);
	send_stub(ctx, s, node, &parsed,
			  info == XLOG_XACT_COMMIT ? XLogRecGetXid(r) : parsed.twophase_xid);
}

bool
native_filter(LogicalDecodingContext *ctx, NativeStream *s, RepOriginId origin)
{
	NodeId		node = origin_map_node(origin);

	if (node == ORIGIN_NODE_LOCAL)
		return false;
	if (node == ORIGIN_NODE_REPAIR)
		return true;
	if (node != s->options.subscriber &&
		(s->options.all_origins || list_member_int(s->options.full_origins, node)))
		return false;
#ifndef BENCH_WITHOUT_STUBS		/* what they cost: bench/mesh */
	stub_if_commit(ctx, s, node);
#endif
	return true;
}
