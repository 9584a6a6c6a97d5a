/*
 * apply.h
 *		Applies the transactions of one link: the interface for the link worker.
 *
 * One remote transaction is applied as one local transaction. The caller holds the origin and has
 * checked that the frontier does not cover the transaction. It calls apply_begin(), then one
 * function for each row message, then apply_commit(). After an error the caller aborts the
 * transaction and calls apply_reset().
 *
 * An ApplyContext, created by the caller, has the whole state of the transaction. A process can
 * have several contexts, but only one of them at a time can have a transaction, because a
 * PostgreSQL process has only one.
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
	uint32		remote_relid;	/* its oid on the remote node; 0: unknown */
	/*
	 * the node that uses this oid, if a node other than the provider of the link kept the row;
	 * otherwise INVALID_NODE_ID
	 */
	NodeId		remote_node;
	NodeId		origin;			/* origin of the row that refers to the table ... */
	XLogRecPtr	origin_lsn;		/* ... and LSN of its transaction */
} LostTable;

/* How a transaction is applied. */
typedef struct ApplyMode
{
	/* search before every insert: a plain insert met a unique violation */
	bool		careful;
	bool		nothing;		/* pass over the transaction: apply none of its rows */
	/* a source that has already resolved all conflicts forwards it: record none */
	bool		source_decides;
	/*
	 * local rows were copied without their versions: decide no conflict that the source has not
	 * decided
	 */
	bool		unversioned;
	bool		unhurried;		/* slow rows raise no error */
	/*
	 * the transaction consists of kept changes that are applied now: the frontier covers it already
	 */
	bool		kept;
} ApplyMode;

/* An applier. Opaque; it lives as long as the process. */
typedef struct ApplyContext ApplyContext;

extern ApplyContext *apply_create(void);

/*
 * Initializes a context before each start of a stream. seen: what the provider had applied at this
 * point of the stream; the link worker keeps it up to date.
 */
extern void apply_init(ApplyContext *cx, NodeId provider, const char *provider_dsn,
					   const Frontier *seen);

extern void apply_begin(ApplyContext *cx, const WireBegin *begin, ApplyMode mode);
extern void apply_relation(ApplyContext *cx, WireReader *r);
extern void apply_insert(ApplyContext *cx, WireReader *r);
extern void apply_update(ApplyContext *cx, WireReader *r);
extern void apply_delete(ApplyContext *cx, WireReader *r);
extern void apply_truncate(ApplyContext *cx, WireReader *r);
extern void apply_write(ApplyContext *cx, WireReader *r);

/*
 * Applies a row message by the function above for its type. Raises an error if the message is not a
 * row message.
 */
extern void apply_change(ApplyContext *cx, WireReader *r, WireMessage type);

/* Applies a kept change (apply/keep.h): the description of its table, and the message. */
extern void apply_kept(ApplyContext *cx, WireReader relation, WireReader change);

/*
 * Performs the work that is due at the end of every transaction. The caller uses it before it
 * commits kept changes; from here on the caller must hold the origin.
 */
extern void apply_end_rows(ApplyContext *cx);

/*
 * Marks the beginning of a message. The message of the last row is no longer available from here
 * on, even if that row failed.
 */
extern void apply_message_begin(ApplyContext *cx);

/* Commits. Returns the number of rows applied. */
extern uint64 apply_commit(ApplyContext *cx);

/* Returns true if the last transaction contained only a frontier row. */
extern bool apply_was_heartbeat(ApplyContext *cx);

/* Applies a transaction as empty: only the progress of the origin advances (skip_transaction()). */
extern void apply_nothing(ApplyContext *cx, const WireBegin *begin);

/*
 * Returns true if the error may concern any one of several rows. Call it before the abort. In
 * careful mode an error concerns a single, known row.
 */
extern bool apply_failed_at_many(ApplyContext *cx);

/* Forgets everything that the transaction had open. Call it after AbortCurrentTransaction(). */
extern void apply_reset(ApplyContext *cx);

/*
 * Records that the failed row violates a unique key, once per remote transaction. Call it after an
 * abort and apply_reset(), outside a transaction.
 */
extern void apply_record_stop(ApplyContext *cx, const char *detail);

/*
 * Returns table and key of the failed row as palloc'd text for messages, or NULL if no row failed.
 * Call it after an abort, in a new transaction.
 */
extern char *apply_failed_row(ApplyContext *cx);

/*
 * Returns true if the table of the failed row does not exist here. Call it after an abort, in a new
 * transaction. The result is valid until the next relation message.
 */
extern bool apply_lost_table(ApplyContext *cx, LostTable *table);

/*
 * Sets the table of the failed row, whether the table exists here or not. Returns false if no row
 * failed. Needs no transaction.
 */
extern bool apply_failed_row_table(ApplyContext *cx, LostTable *table);

/*
 * Does the same, also if constraints failed at the end of the transaction. Must be called in a
 * transaction. The strings are allocated in CurrentMemoryContext, or are valid until the next
 * relation message.
 */
extern bool apply_failed_table(ApplyContext *cx, LostTable *table);

/* Returns true if the failure occurred while keeping a change of a table that waits. */
extern bool apply_failed_keeping(ApplyContext *cx);

/* Returns when the last applied transaction began. */
extern Moment apply_began(ApplyContext *cx);

/*
 * Passes over the rows of the failed row's table from here on, as long as it does not exist here.
 */
extern void apply_pass_over_table(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_H */
