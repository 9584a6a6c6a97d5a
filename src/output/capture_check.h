/*
 * capture_check.h
 *		Detects changes that capture did not see.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_CHECK_H
#define REPLICATION_PLUGIN_CAPTURE_CHECK_H

#include "output/native.h"

/* Starts a transaction. */
extern void capture_check_begin(NativeStream *s);

/* Counts a change that must be captured (1), or evidence that one was captured (-1). */
extern void capture_check_count(NativeStream *s, SentRelation *e, int64 n);

/* Counts a TRUNCATE of one relation. */
extern void capture_check_truncate(NativeStream *s, SentRelation *e, Relation rel);

/* Reads a note of capture. Returns false if the logical message is not such a note. */
extern bool capture_check_note(NativeStream *s, const char *content, Size size);

/*
 * Ends a transaction. If changes were not captured, marks their tables out of step, on all nodes.
 */
extern void capture_check_commit(NativeStream *s, ReorderBufferTXN *txn);

#endif							/* REPLICATION_PLUGIN_CAPTURE_CHECK_H */
