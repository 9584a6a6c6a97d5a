/*
 * own_transaction.h
 *		A transaction around a few steps, in a process that has none: a worker, or a walsender.
 *
 *		OwnTransaction t = own_transaction_begin_sql();
 *		...
 *		own_transaction_end(&t);
 *
 * Between the two, what is allocated is gone at the end, unless the caller switches to t.context,
 * which is its own memory context. That context is current again after the end. An error leaves
 * the transaction open: who catches it calls AbortCurrentTransaction(), or the process ends.
 *
 * Transactions with a bracket of their own are those that apply rows (apply/apply.c, and
 * apply/unpark.c), as an origin and other state begin and end with them.
 */
#ifndef REPLICATION_PLUGIN_OWN_TRANSACTION_H
#define REPLICATION_PLUGIN_OWN_TRANSACTION_H

typedef struct OwnTransaction
{
	MemoryContext context;		/* of the caller */
	bool		began;			/* false: the caller had a transaction already */
	bool		snapshot;		/* there is an active snapshot to pop */
} OwnTransaction;

/* Begins a transaction without a snapshot: for catalog caches, locks and replication origins. */
extern OwnTransaction own_transaction_begin(void);

/*
 * Gives the transaction an active snapshot, as SQL and reading of tables need it. Who takes a lock
 * first sees what was committed while the lock was waited for.
 */
extern void own_transaction_snapshot(OwnTransaction *t);

/* Begins a transaction with an active snapshot. */
extern OwnTransaction own_transaction_begin_sql(void);

/* Begins a transaction without a snapshot, unless the caller is in one already. */
extern OwnTransaction own_transaction_ensure(void);

/* Commits the transaction, if it was begun here, and switches to the caller's memory context. */
extern void own_transaction_end(const OwnTransaction *t);

#endif							/* REPLICATION_PLUGIN_OWN_TRANSACTION_H */
