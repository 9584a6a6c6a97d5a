/*
 * feedback.h
 *		Which position of the provider's stream may be confirmed.
 */
#ifndef REPLICATION_PLUGIN_FEEDBACK_H
#define REPLICATION_PLUGIN_FEEDBACK_H

#include "access/xlogdefs.h"

/* Forgets everything: a stream begins. */
extern void feedback_start(void);

/* A position is passed (applied, skipped, stub, keepalive) and depends on the local WAL up to now. */
extern void feedback_passed(XLogRecPtr remote);

/* The last position passed. */
extern XLogRecPtr feedback_last_passed(void);

/* The position up to which everything is durable here. flush: make it so now. */
extern XLogRecPtr feedback_confirmable(bool flush);

/* True if something is passed but not yet confirmable. */
extern bool feedback_pending(void);

#endif							/* REPLICATION_PLUGIN_FEEDBACK_H */
