/*
 * native.h
 *		The native stream, for subscribers of the group.
 */
#ifndef REPLICATION_PLUGIN_NATIVE_H
#define REPLICATION_PLUGIN_NATIVE_H

#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"

#include "base/compat.h"
#include "output/options.h"
#include "output/sent_relation.h"

typedef struct NativeStream
{
	NativeOptions options;
	NodeId		me;
	char	   *group_id;
	char	   *dsn;			/* of this node */
	bool		started;		/* the startup message is sent */
	bool		begun;			/* the begin of the current transaction is in the buffer, or sent */
	bool		skip;			/* the current transaction is not sent to this subscriber */
	NodeId		origin;			/* of the current transaction */
	/* tables that it has changed and that capture must report (capture_check.h) */
	SentRelation *touched;
	int			passed_over;	/* changes since progress was last reported */
	SentRelations *relations;	/* the tables of which something is sent, or was looked at */
	StringInfo	buffer;			/* messages that are not sent yet */
	Frontier   *held;			/* stubs that are held back */
	int			nheld;
	bool		holding;		/* the subscriber knows that some are held back */
	XLogRecPtr	held_end;
	TransactionId held_xid;
	/* the last transaction about which warn_of_forged() has warned */
	TransactionId forged_xid;
	MemoryContext context;		/* reset after each change */
	Datum	   *values;			/* of one row */
	bool	   *nulls;
	Datum	   *old_values;
	bool	   *old_nulls;
	int			nvalues;		/* allocated size of these arrays */
} NativeStream;

/*
 * Sets node and LSN of the transaction that this process has begun, but not finished, to send.
 * Returns false if there is none.
 */
extern bool native_at_hand(NodeId *node, XLogRecPtr *lsn);

/* Checks the options and reads the identity of the local node. */
extern NativeStream *native_startup(LogicalDecodingContext *ctx, NativeOptions *options);

extern void native_begin(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn);
extern void native_commit(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn);
extern void native_change(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
						  Relation rel, ReorderBufferChange *change);
extern void native_truncate(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
							int nrels, Relation rels[]);
extern void native_message(LogicalDecodingContext *ctx, NativeStream *s, ReorderBufferTXN *txn,
						   bool transactional, const char *prefix, Size size, const char *content);

/*
 * Returns true if records of an origin are omitted from the stream. At the commit of such a
 * transaction, sends or holds its stub.
 */
extern bool native_filter(LogicalDecodingContext *ctx, NativeStream *s, RepOriginId origin);

/*
 * native_send.c: sends the stubs that are held back. more: others will follow, so that the
 * subscriber must not rely on keepalives yet.
 */
extern void native_send_stubs(LogicalDecodingContext *ctx, NativeStream *s, bool more);

/* Writes a begin, and what has to precede it; and a commit. */
extern void native_write_begin(LogicalDecodingContext *ctx, NativeStream *s, const WireBegin *m);
extern void native_write_commit(NativeStream *s, const WireCommit *m);

/* Sends a transaction without rows, in place of one that the subscriber skips. */
extern void native_empty_transaction(LogicalDecodingContext *ctx, NativeStream *s,
									 const WireBegin *begin, XLogRecPtr end);

/* Sends the contents of the buffer. */
extern void native_flush(LogicalDecodingContext *ctx, NativeStream *s);

/* native_row.c: write one row. */
extern void native_row(LogicalDecodingContext *ctx, NativeStream *s, Relation rel,
					   SentRelation *entry, ReorderBufferChange *change);
extern void native_tombstone(LogicalDecodingContext *ctx, NativeStream *s, Relation rel,
							 ReorderBufferChange *change);

/* Writes a logical message of the extension: a write to a mergeable table, or of a parked row. */
extern void native_write(LogicalDecodingContext *ctx, NativeStream *s, const char *content,
						 Size size);

#endif							/* REPLICATION_PLUGIN_NATIVE_H */
