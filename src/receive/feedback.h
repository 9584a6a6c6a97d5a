/*
 * feedback.h
 *		Determines which position of the provider's stream may be confirmed.
 */
#ifndef REPLICATION_PLUGIN_FEEDBACK_H
#define REPLICATION_PLUGIN_FEEDBACK_H

#include "access/xlogdefs.h"

#define FEEDBACK_RING_SIZE	1024	/* distinct positions; beyond that, neighbours share an entry */

/* A position of the provider that was passed, and the end of the local WAL on which it depends. */
typedef struct PassedPosition
{
	XLogRecPtr	remote;
	XLogRecPtr	local;
} PassedPosition;

/* The passed positions of a stream, and how far they may be confirmed. */
typedef struct Feedback
{
	PassedPosition ring[FEEDBACK_RING_SIZE];
	int			first;			/* in the ring */
	int			count;			/* in the ring */
	XLogRecPtr	confirmable;
	XLogRecPtr	last_passed;
} Feedback;

/* Forgets everything, for a new stream. */
extern void feedback_start(Feedback *f);

/*
 * Notes that a position is passed (applied, skipped, stub, keepalive). It depends on the local WAL
 * up to its current end.
 */
extern void feedback_passed(Feedback *f, XLogRecPtr remote);

/* Returns the last position passed. */
extern XLogRecPtr feedback_last_passed(const Feedback *f);

/*
 * Returns the position up to which everything is durable on this node. flush: flush the WAL first.
 */
extern XLogRecPtr feedback_confirmable(Feedback *f, bool flush);

/* Returns true if a position is passed but not yet confirmable. */
extern bool feedback_pending(const Feedback *f);

#endif							/* REPLICATION_PLUGIN_FEEDBACK_H */
