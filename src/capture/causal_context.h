/*
 * causal_context.h
 *		What a client has read of a row, as text: setting replication_plugin.causal_context.
 *
 * "3:816543210123456,1:816543210123001": node and timestamp (µs since 2000) of each sibling; "-"
 * stands for one whose version is not known; "none" for a row that had none.
 */
#ifndef REPLICATION_PLUGIN_CAUSAL_CONTEXT_H
#define REPLICATION_PLUGIN_CAUSAL_CONTEXT_H

#include "lib/stringinfo.h"

#include "model/sibling.h"

extern char *causal_context_to_text(const SiblingSet *set);

/* Reads a context; returns false if the text is malformed. */
extern bool causal_context_parse(const char *text, Version **read, int *nread);

/* The setting's context; false if it is not set. */
extern bool causal_context_current(Version **read, int *nread);

/*
 * True if this node has had all that was read: it has it still, or what has replaced it. set: the
 * siblings here.
 */
extern bool causal_context_covered(const SiblingSet *set, const Frontier *seen, const Version *read, int nread);

extern void causal_context_define_setting(void);

#endif							/* REPLICATION_PLUGIN_CAUSAL_CONTEXT_H */
