/*
 * stub.c
 *		Which origins stay out of a stream, and what is said in their place.
 *
 * Records of origins that the subscriber gets elsewhere are dropped before they enter
 * the reorder buffer. At the commit of such a transaction a stub is due: {origin node, its LSN, its
 * commit timestamp}, sent from within the filter callback. No catalog is read here: decoding has no
 * snapshot at this point.
 *
 * Where decoding is at the end of the WAL, each stub is sent at once: nobody calls us when there is
 * nothing more to decode, and the walsender's keepalives tell the subscriber that everything before
 * their position has been sent. Where it is behind, stubs are gathered (docs/protocol.md, Stub):
 * the first one says that more are held back, so that the subscriber trusts no keepalive until the
 * next message; what is held goes out before any full transaction, when there is much of it, and
 * near the end of the WAL.
 *
 * The subscriber's own transactions are not sent back, but their stubs are: "I have seen
 * yours."
 *
 * A transaction that the subscriber skips (skip_transaction()) is dropped here too, at its commit:
 * so the reorder buffer forgets it without a look at its rows, and one at which decoding fails can
 * be got over. In its place goes an empty one.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"

#include "output/native.h"
#include "shared/origin_map.h"

#define HOLD_WHEN_BEHIND	(256 * 1024)	/* bytes of WAL not yet decoded */
#define MAX_HELD			200

/* True if so much WAL is still to be decoded that there will be other occasions. */
static bool
is_behind(LogicalDecodingContext *ctx)
{
	return GetFlushRecPtr(NULL) > ctx->reader->EndRecPtr + HOLD_WHEN_BEHIND;
}

/* Reads the record at hand if it is a commit; *xid is that of the transaction. */
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
 * If the record at hand is the commit of a transaction that the subscriber skips: sends an empty
 * one, and returns true.
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
	begin.commit_ts = parsed.xinfo & XACT_XINFO_HAS_ORIGIN ? parsed.origin_timestamp : parsed.xact_time;
	if (!options_skip(&s->options, begin.origin_lsn))
		return false;
	ctx->accept_writes = true;
	ctx->write_xid = begin.xid;
	ctx->write_location = r->EndRecPtr;
	native_empty_transaction(ctx, s, &begin, r->EndRecPtr);
	ctx->accept_writes = accept_writes;
	return true;
}

/* Reads the record at hand if it is a commit, and sends the stub, or holds it. */
static void
stub_if_commit(LogicalDecodingContext *ctx, NativeStream *s, NodeId node)
{
	xl_xact_parsed_commit parsed;

	if (!read_commit(ctx->reader, &parsed, &s->held_xid))
		return;
	frontier_raise(s->held, node, parsed.origin_lsn, parsed.origin_timestamp);
	s->held_end = ctx->reader->EndRecPtr;
	if (!is_behind(ctx))
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

	if (s->holding && !is_behind(ctx))
		native_send_stubs(ctx, s, false);
	if (node == ORIGIN_NODE_REPAIR)
		return true;
	if (node == ORIGIN_NODE_LOCAL || (node != s->options.subscriber &&
									  (s->options.all_origins || list_member_int(s->options.full_origins, node))))
		return s->options.nskip > 0 && skip_if_commit(ctx, s, node);
#ifndef BENCH_WITHOUT_STUBS		/* what they cost: bench/mesh */
	stub_if_commit(ctx, s, node);
#endif
	return true;
}
