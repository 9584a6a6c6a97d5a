/*
 * feedback.h
 *		Which position of the provider's stream may be confirmed.
 */
#ifndef REPLICATION_PLUGIN_FEEDBACK_H
#define REPLICATION_PLUGIN_FEEDBACK_H

#include "access/xlogdefs.h"

#define FEEDBACK_RING_SIZE	1024	/* positions apart; beyond that, neighbours share an entry */

/* A position of the provider that was passed, and the local WAL that it rests on. */
typedef struct PassedPosition
{
	XLogRecPtr	remote;
	XLogRecPtr	local;
} PassedPosition;

/* The positions of a stream that were passed, and how far they may be confirmed. */
typedef struct Feedback
{
	PassedPosition ring[FEEDBACK_RING_SIZE];
	int			first;			/* in the ring */
	int			count;			/* in the ring */
	XLogRecPtr	confirmable;
	XLogRecPtr	last_passed;
} Feedback;

/* Forgets everything: a stream begins. */
extern void feedback_start(Feedback *f);

/*
 * A position is passed (applied, skipped, stub, keepalive) and depends on the local WAL up to now.
 */
extern void feedback_passed(Feedback *f, XLogRecPtr remote);

/* The last position passed. */
extern XLogRecPtr feedback_last_passed(const Feedback *f);

/* The position up to which everything is durable here. flush: make it so now. */
extern XLogRecPtr feedback_confirmable(Feedback *f, bool flush);

/* True if something is passed but not yet confirmable. */
extern bool feedback_pending(const Feedback *f);

#endif							/* REPLICATION_PLUGIN_FEEDBACK_H */
