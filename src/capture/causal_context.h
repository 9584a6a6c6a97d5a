/*
 * causal_context.h
 *		Text form of causal contexts, and setting replication_plugin.causal_context.
 *
 * A causal context is what a client has read of a row, for example
 * "3:816543210123456,1:816543210123001": node and timestamp (microseconds since 2000) of each
 * sibling. "-" stands for a sibling whose version is unknown, and "none" for a row without
 * siblings.
 */
#ifndef REPLICATION_PLUGIN_CAUSAL_CONTEXT_H
#define REPLICATION_PLUGIN_CAUSAL_CONTEXT_H

#include "lib/stringinfo.h"

#include "model/sibling.h"

extern char *causal_context_to_text(const SiblingSet *set);

/* Reads a context. Returns false if the text is malformed. */
extern bool causal_context_parse(const char *text, Version **read, int *nread);

/* Reads the context of the setting. Returns false if it is not set. */
extern bool causal_context_current(Version **read, int *nread);

/*
 * Returns true if this node has had everything that was read: it still has it, or what has replaced
 * it. set: the local siblings.
 */
extern bool causal_context_covered(const SiblingSet *set, const Frontier *seen, const Version *read,
								   int nread);

extern void causal_context_define_setting(void);

#endif							/* REPLICATION_PLUGIN_CAUSAL_CONTEXT_H */
