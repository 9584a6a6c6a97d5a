/*
 * combine.h
 *		Writes of mergeable tables: what arrives is merged with what is here.
 */
#ifndef REPLICATION_PLUGIN_APPLY_COMBINE_H
#define REPLICATION_PLUGIN_APPLY_COMBINE_H

#include "apply/relation.h"

/* The write at hand, with its context. */
extern void combine_write(ApplyRelation *ar);

/* A put, or a delete, from before the table was mergeable. */
extern void combine_plain_put(ApplyRelation *ar);
extern void combine_plain_delete(ApplyRelation *ar);

#endif							/* REPLICATION_PLUGIN_APPLY_COMBINE_H */
