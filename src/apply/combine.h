/*
 * combine.h
 *		Applies writes to mergeable tables by merging them with the local state.
 */
#ifndef REPLICATION_PLUGIN_APPLY_COMBINE_H
#define REPLICATION_PLUGIN_APPLY_COMBINE_H

#include "apply/relation.h"

/* Applies the current write, with its context. */
extern void combine_write(ApplyRelation *ar);

/* Apply a put, or a delete, from before the table became mergeable. */
extern void combine_plain_put(ApplyRelation *ar);
extern void combine_plain_delete(ApplyRelation *ar);

#endif							/* REPLICATION_PLUGIN_APPLY_COMBINE_H */
