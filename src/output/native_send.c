/*
 * native_send.c
 *		The native stream, for subscribers of the group: sending, and what precedes a transaction.
 *
 * The stubs that are held back are sent before every transaction, so that a subscriber that has a
 * transaction knows the transactions on which it depends.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/compat.h"
#include "output/native.h"
#include "wire/protocol.h"

void
native_flush(LogicalDecodingContext *ctx, NativeStream *s)
{
	if (s->buffer->len == 0)
		return;
	OutputPluginPrepareWrite(ctx, true);
	appendBinaryStringInfo(ctx->out, s->buffer->data, s->buffer->len);
	OutputPluginWrite(ctx, true);
	resetStringInfo(s->buffer);
}

void
native_send_stubs(LogicalDecodingContext *ctx, NativeStream *s, bool more)
{
	WireStub	stub = {.end_lsn = s->held_end,
						.n = s->held->n,
						.entries = s->held->entries,
						.more = more};
	bool		accept_writes = ctx->accept_writes;

	ctx->accept_writes = true;
	ctx->write_xid = s->held_xid;
	ctx->write_location = ctx->reader->EndRecPtr;
	OutputPluginPrepareWrite(ctx, true);
	wire_write_stub(ctx->out, &stub);
	OutputPluginWrite(ctx, true);
	ctx->accept_writes = accept_writes;
	frontier_clear(s->held);
	s->nheld = 0;
	s->holding = more;
}

/* Writes the first message of a stream. */
static void
write_startup(NativeStream *s)
{
	WireStartup m = {
		.protocol = s->options.protocol,.server_version = SERVER_VERSION_NUM,.node = s->me,
		.group_id = s->group_id,.encoding = pstrdup(GetDatabaseEncodingName()),
		.internal = s->options.internal
	};

	wire_write_startup(s->buffer, &m);
	s->started = true;
}

void
native_write_begin(LogicalDecodingContext *ctx, NativeStream *s, const WireBegin *m)
{
	if (s->holding)
		native_send_stubs(ctx, s, false);
	if (!s->started)
		write_startup(s);
	wire_write_begin(s->buffer, m);
}

void
native_write_commit(NativeStream *s, const WireCommit *m)
{
#ifdef REPLICATION_PLUGIN_NEXT
	if (s->options.protocol > WIRE_PROTOCOL_FIRST)
	{
		wire_write_commit_next(s->buffer, m);
		return;
	}
#endif
	wire_write_commit(s->buffer, m);
}

void
native_empty_transaction(LogicalDecodingContext *ctx, NativeStream *s, const WireBegin *begin,
						 XLogRecPtr end)
{
	WireCommit	m = {.end_lsn = end};

	native_write_begin(ctx, s, begin);
	native_write_commit(s, &m);
	native_flush(ctx, s);
}
