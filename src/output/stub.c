/*
 * stub.c
 *		Decides which origins are omitted from a stream, and sends stubs in their place.
 *
 * Records of origins that the subscriber gets by another link are dropped before they enter the
 * reorder buffer. At the commit of such a transaction a stub is due: {origin node, its LSN, its
 * commit timestamp}. The filter callback sends it. No catalog is read here, because decoding has no
 * snapshot at this point.
 *
 * When decoding is at the end of the WAL, each stub is sent at once: the plugin is not called when
 * there is nothing more to decode, and the walsender's keepalives tell the subscriber that
 * everything before their position has been sent. When decoding is behind, stubs are gathered
 * (docs/protocol.md, Stub). The first one says that more are held back, so that the subscriber
 * relies on no keepalive until the next message. The stubs that are held back are sent before any
 * full transaction, when there are many of them, and near the end of the WAL.
 *
 * The subscriber's own transactions are not sent back, but their stubs are: they tell the
 * subscriber that this node has seen its transactions.
 *
 * A transaction that the subscriber skips (skip_transaction()) is dropped here as well, at its
 * commit. The reorder buffer then discards it without processing its rows, so that a transaction at
 * which decoding fails can be skipped. An empty transaction is sent in its place.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"

#include "base/compat.h"
#include "output/native.h"
#include "shared/origin_map.h"

#define HOLD_WHEN_BEHIND	(256 * 1024)	/* bytes of WAL not yet decoded */
#define MAX_HELD			200

/* Returns true if so much WAL remains to be decoded that stubs can be sent later. */
static bool
stub_is_behind(LogicalDecodingContext *ctx)
{
	return GetFlushRecPtr(NULL) > ctx->reader->EndRecPtr + HOLD_WHEN_BEHIND;
}

/* Reads the current record if it is a commit. Sets *xid to the transaction. */
static bool
read_commit(XLogReaderState *r, xl_xact_parsed_commit *parsed, TransactionId *xid)
{
	uint8		info;

	if (XLogRecGetRmid(r) != RM_XACT_ID)
		return false;
	info = XLogRecGetInfo(r) & XLOG_XACT_OPMASK;
	if (info != XLOG_XACT_COMMIT && info != XLOG_XACT_COMMIT_PREPARED)
		return false;
	ParseCommitRecord(XLogRecGetInfo(r), (xl_xact_commit *) XLogRecGetData(r), parsed);
	*xid = info == XLOG_XACT_COMMIT ? XLogRecGetXid(r) : parsed->twophase_xid;
	return true;
}

/*
 * Sends an empty transaction and returns true if the current record is the commit of a transaction
 * that the subscriber skips.
 */
static bool
skip_if_commit(LogicalDecodingContext *ctx, NativeStream *s, NodeId node)
{
	XLogReaderState *r = ctx->reader;
	bool		accept_writes = ctx->accept_writes;
	xl_xact_parsed_commit parsed;
	WireBegin	begin;

	if (!read_commit(r, &parsed, &begin.xid))
		return false;
	begin.origin = node == ORIGIN_NODE_LOCAL ? s->me : node;
	begin.origin_lsn = node == ORIGIN_NODE_LOCAL ? r->EndRecPtr : parsed.origin_lsn;
	begin.commit_ts =
		parsed.xinfo & XACT_XINFO_HAS_ORIGIN ? parsed.origin_timestamp : parsed.xact_time;
	if (!options_skip(&s->options, begin.origin_lsn))
		return false;
	ctx->accept_writes = true;
	ctx->write_xid = begin.xid;
	ctx->write_location = r->EndRecPtr;
	native_empty_transaction(ctx, s, &begin, r->EndRecPtr);
	ctx->accept_writes = accept_writes;
	return true;
}

/* Sends or holds the stub if the current record is a commit. */
static void
stub_if_commit(LogicalDecodingContext *ctx, NativeStream *s, NodeId node)
{
	xl_xact_parsed_commit parsed;

	if (!read_commit(ctx->reader, &parsed, &s->held_xid))
		return;
	frontier_raise(s->held, node, parsed.origin_lsn, parsed.origin_timestamp);
	s->held_end = ctx->reader->EndRecPtr;
	if (!stub_is_behind(ctx))
		native_send_stubs(ctx, s, false);
	else if (!s->holding)
		native_send_stubs(ctx, s, true);
	else if (++s->nheld >= MAX_HELD)
		native_send_stubs(ctx, s, true);
}

bool
native_filter(LogicalDecodingContext *ctx, NativeStream *s, RepOriginId origin)
{
	NodeId		node = origin_map_node(origin);

	if (s->holding && !stub_is_behind(ctx))
		native_send_stubs(ctx, s, false);
	if (node == ORIGIN_NODE_REPAIR)
		return true;
	if (node == ORIGIN_NODE_LOCAL ||
		(node != s->options.subscriber &&
		 (s->options.all_origins || list_member_int(s->options.full_origins, node))))
		return s->options.nskip > 0 && skip_if_commit(ctx, s, node);
#ifndef BENCH_WITHOUT_STUBS		/* to measure their cost: bench/mesh */
	stub_if_commit(ctx, s, node);
#endif
	return true;
}
