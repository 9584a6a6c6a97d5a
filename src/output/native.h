/*
 * native.h
 *		The stream for our own subscribers.
 */
#ifndef REPLICATION_PLUGIN_NATIVE_H
#define REPLICATION_PLUGIN_NATIVE_H

#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"

#include "output/options.h"
#include "output/sent_relation.h"

typedef struct NativeStream
{
	NativeOptions options;
	NodeId		me;
	char	   *group_id;
	char	   *dsn;			/* of this node */
	bool		started;		/* the startup message is sent */
	bool		begun;			/* the transaction at hand has its begin in the buffer, or sent */
	bool		skip;			/* the transaction at hand is not for this subscriber */
	NodeId		origin;			/* of the transaction at hand */
	/* tables that it has changed and that capture has to tell of (capture_check.h) */
	SentRelation *touched;
	int			passed_over;	/* changes since the last sign of life */
	StringInfo	buffer;			/* messages not sent yet */
	Frontier   *held;			/* stubs held back, and where the last of them ends */
	int			nheld;
	bool		holding;		/* the subscriber knows that there are some */
	XLogRecPtr	held_end;
	TransactionId held_xid;
	/* the transaction of which it was said that it has messages of somebody else */
	TransactionId forged_xid;
	MemoryContext context;		/* reset after each change */
	Datum	   *values;			/* of one row */
	bool	   *nulls;
	Datum	   *old_values;
	bool	   *old_nulls;
	int			nvalues;		/* room in them */
} NativeStream;

/*
 * The transaction that this process has begun to send and not ended: its node and LSN. False if
 * there is none.
 */
extern bool native_at_hand(NodeId *node, XLogRecPtr *lsn);

/* Checks the options and learns who we are. */
extern NativeStream *native_startup(LogicalDecodingContext *ctx, NativeOptions *options);

extern void native_begin(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn);
extern void native_commit(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn);
extern void native_change(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
						  Relation rel, ReorderBufferChange *change);
extern void native_truncate(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
							int nrels, Relation rels[]);
extern void native_message(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
						   bool transactional, const char *prefix, Size size, const char *content);

/* Whether records of an origin stay out of the stream; sends the stub at its commit. */
extern bool native_filter(LogicalDecodingContext *ctx, NativeStream *s, RepOriginId origin);

/*
 * native_send.c: sends the stubs that are held back. more: others will follow, so that no keepalive
 * may be trusted yet.
 */
extern void native_send_stubs(LogicalDecodingContext *ctx, NativeStream *s, bool more);

/* Writes a begin, and what has to come before. */
extern void native_write_begin(LogicalDecodingContext *ctx, NativeStream *s, const WireBegin *m);

/* Sends a transaction without rows, in the place of one that the subscriber skips. */
extern void native_empty_transaction(LogicalDecodingContext *ctx, NativeStream *s, const WireBegin *begin, XLogRecPtr end);

/* Sends what is in the buffer. */
extern void native_flush(LogicalDecodingContext *ctx, NativeStream *s);

/* native_row.c: one row. */
extern void native_row(LogicalDecodingContext *ctx, NativeStream *s, Relation rel,
					   SentRelation *entry, ReorderBufferChange *change);
extern void native_tombstone(LogicalDecodingContext *ctx, NativeStream *s, Relation rel,
							 ReorderBufferChange *change);

/* A logical message of ours: a write of a mergeable table. */
extern void native_write(LogicalDecodingContext *ctx, NativeStream *s, const char *content, Size size);

#endif							/* REPLICATION_PLUGIN_NATIVE_H */
