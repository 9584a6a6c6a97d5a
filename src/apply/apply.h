/*
 * apply.h
 *		Applying the transactions of one link: the way in, for the link worker.
 *
 * One transaction in, one transaction out. The caller holds the origin, has checked
 * that the frontier does not cover the transaction, and calls begin, then one call
 * per row message, then commit. After an error it aborts the transaction and calls
 * apply_reset().
 *
 * All that is known of the transaction is in an ApplyContext, which the caller has made. Of several
 * contexts of a process only one at a time can have a transaction, as a process of PostgreSQL has
 * one.
 */
#ifndef REPLICATION_PLUGIN_APPLY_H
#define REPLICATION_PLUGIN_APPLY_H

#include "base/moment.h"
#include "model/frontier.h"
#include "wire/wire.h"

/* A table of the provider that does not exist here. */
typedef struct LostTable
{
	const char *nspname;
	const char *relname;
	uint32		remote_relid;	/* there; 0: not known */
	/*
	 * on that node, where another one than the provider of the link has kept the row; else
	 * INVALID_NODE_ID
	 */
	NodeId		remote_node;
	NodeId		origin;			/* of the row that met this ... */
	XLogRecPtr	origin_lsn;		/* ... and its transaction */
} LostTable;

/* How a transaction is applied. */
typedef struct ApplyMode
{
	bool		careful;		/* look before every insert: the quick way met a unique violation */
	bool		nothing;		/* it is passed over: no row of it */
	/* forwarded by a source that has decided all conflicts: none is recorded */
	bool		source_decides;
	/*
	 * rows here were copied without their versions: nothing can be decided that the source has not
	 */
	bool		unversioned;
	bool		unhurried;		/* slow rows are no error */
	/* its changes had to be kept, and are applied now: the frontier covers it already */
	bool		kept;
} ApplyMode;

/* An applier. Opaque; it lives as long as the process. */
typedef struct ApplyContext ApplyContext;

extern ApplyContext *apply_create(void);

/*
 * Before each start of a stream. seen: what the provider had applied at this point of the
 * stream; the link worker keeps it up to date.
 */
extern void apply_init(ApplyContext *cx, NodeId provider, const char *provider_dsn, const Frontier *seen);

extern void apply_begin(ApplyContext *cx, const WireBegin *begin, ApplyMode mode);
extern void apply_relation(ApplyContext *cx, WireReader *r);
extern void apply_insert(ApplyContext *cx, WireReader *r);
extern void apply_update(ApplyContext *cx, WireReader *r);
extern void apply_delete(ApplyContext *cx, WireReader *r);
extern void apply_truncate(ApplyContext *cx, WireReader *r);
extern void apply_write(ApplyContext *cx, WireReader *r);

/* The one of these that a message of this type asks for; an error if it is none of a row. */
extern void apply_change(ApplyContext *cx, WireReader *r, WireMessage type);

/* A change that was kept (apply/keep.h): the description of its table, and the message. */
extern void apply_kept(ApplyContext *cx, WireReader relation, WireReader change);

/*
 * Before the commit of a transaction that was kept: does what is done at its end in any case. From
 * here on the caller holds the origin.
 */
extern void apply_end_rows(ApplyContext *cx);

/* A message begins: the one that the last row was read from is gone, also if that row failed. */
extern void apply_message_begin(ApplyContext *cx);

/* Commits. Returns the number of rows applied. */
extern uint64 apply_commit(ApplyContext *cx);

/* True if the last transaction brought a frontier row and nothing else. */
extern bool apply_was_heartbeat(ApplyContext *cx);

/*
 * Applies a transaction as empty: the origin's progress moves, nothing else
 * (skip_transaction()).
 */
extern void apply_nothing(ApplyContext *cx, const WireBegin *begin);

/*
 * Before an abort: true if the error may be one of any of several rows. In careful mode it is one
 * of a single row, which is known then.
 */
extern bool apply_failed_at_many(ApplyContext *cx);

/* After AbortCurrentTransaction(): forgets everything that the transaction had open. */
extern void apply_reset(ApplyContext *cx);

/*
 * After an abort and reset, outside a transaction: records that the row at which it
 * failed violates a unique key (once per transaction of the provider).
 */
extern void apply_record_stop(ApplyContext *cx, const char *detail);

/*
 * After an abort, in a new transaction: table and key of the row at which it failed,
 * as text for messages, palloc'd; NULL if it failed at none.
 */
extern char *apply_failed_row(ApplyContext *cx);

/*
 * After an abort, in a new transaction: true if the table of the row at which it failed does not
 * exist here. What is returned is good until the next relation message.
 */
extern bool apply_lost_table(ApplyContext *cx, LostTable *table);

/*
 * The same for a table that exists here or not: false if it failed at no row. Needs no transaction.
 */
extern bool apply_failed_row_table(ApplyContext *cx, LostTable *table);

/*
 * The same; also if it failed at constraints at the end. In a transaction; what is returned is in
 * CurrentMemoryContext, or good until the next relation message.
 */
extern bool apply_failed_table(ApplyContext *cx, LostTable *table);

/* After a failure: true if the row could not be kept, whose table waits. */
extern bool apply_failed_keeping(ApplyContext *cx);

/* When the transaction began that was applied last. */
extern Moment apply_began(ApplyContext *cx);

/* Passes over the rows of that table from here on, as long as it does not exist here. */
extern void apply_pass_over_table(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_H */
