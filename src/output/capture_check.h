/*
 * capture_check.h
 *		Notices changes that capture did not see.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_CHECK_H
#define REPLICATION_PLUGIN_CAPTURE_CHECK_H

#include "output/native.h"

/* Begins a transaction. */
extern void capture_check_begin(NativeStream *s);

/* Counts a change that has to be captured (1), or what shows that one was (-1). */
extern void capture_check_count(NativeStream *s, SentRelation *e, int64 n);

/* The same for a TRUNCATE of one relation. */
extern void capture_check_truncate(NativeStream *s, SentRelation *e, Relation rel);

/* Takes a note of capture; false if the logical message is none. */
extern bool capture_check_note(NativeStream *s, const char *content, Size size);

/* Ends a transaction: if something escaped, marks its table out of step, on all nodes. */
extern void capture_check_commit(NativeStream *s, ReorderBufferTXN *txn);

#endif							/* REPLICATION_PLUGIN_CAPTURE_CHECK_H */
