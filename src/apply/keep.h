/*
 * keep.h
 *		Changes of tables that wait: kept where they arrive, and applied later.
 */
#ifndef REPLICATION_PLUGIN_APPLY_KEEP_H
#define REPLICATION_PLUGIN_APPLY_KEEP_H

#include "apply/context.h"
#include "catalog/waiting_table.h"

/*
 * The table of the row at hand if it waits here; NULL if it does not. From here to the end of the
 * transaction it goes on doing so (control/waiting/kept.c).
 */
extern const WaitingTable *keep_needed(const WireRelation *remote);

/* Keeps the change at hand, a message with its type byte. */
extern void keep_change(ApplyContext *cx, const WireRelation *remote, const WaitingTable *w,
						const char *message, int len);

/* What a row of the table of kept changes holds. */
typedef struct Envelope
{
	NodeId		provider;		/* from whom that node had it ... */
	TransactionId xid;			/* ... in which transaction there ... */
	Frontier   *seen;			/* ... which had seen that ... */
	uint32		relid;			/* ... of the table of this number there */
	WireReader	relation;		/* description of the table */
	WireReader	change;
} Envelope;

/* Reads it from the row of that table that has been read into ar. It lives until the next call. */
extern Envelope keep_open_envelope(ApplyRelation *ar);

#endif							/* REPLICATION_PLUGIN_APPLY_KEEP_H */
