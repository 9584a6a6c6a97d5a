/*
 * keep.h
 *		Keeps arriving changes of tables that wait, to be applied later.
 */
#ifndef REPLICATION_PLUGIN_APPLY_KEEP_H
#define REPLICATION_PLUGIN_APPLY_KEEP_H

#include "apply/context.h"
#include "catalog/waiting_table.h"

/*
 * Returns the entry of the current row's table if the table waits on this node, or NULL. A table
 * that waits then continues to wait until the end of the transaction (control/waiting/kept.c).
 */
extern const WaitingTable *keep_needed(const WireRelation *remote);

/* Keeps the current change. message: the message with its type byte. */
extern void keep_change(ApplyContext *cx, const WireRelation *remote, const WaitingTable *w,
						const char *message, int len);

/* The contents of a row of the table of kept changes. */
typedef struct Envelope
{
	NodeId		provider;		/* from which that node received it ... */
	TransactionId xid;			/* ... in this transaction of that provider ... */
	Frontier   *seen;			/* ... which had seen this ... */
	uint32		relid;			/* ... for the table with this oid there */
	WireReader	relation;		/* description of the table */
	WireReader	change;
} Envelope;

/*
 * Reads the envelope from the row of the table of kept changes in ar. It is valid until the next
 * call.
 */
extern Envelope keep_open_envelope(ApplyRelation *ar);

#endif							/* REPLICATION_PLUGIN_APPLY_KEEP_H */
