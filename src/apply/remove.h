/*
 * remove.h
 *		Applies DELETE and TRUNCATE.
 */
#ifndef REPLICATION_PLUGIN_APPLY_REMOVE_H
#define REPLICATION_PLUGIN_APPLY_REMOVE_H

#include "apply/relation.h"

extern void remove_row(ApplyRelation *ar);

/* Applies TRUNCATE of a table without a key. */
extern void remove_all_seen(ApplyRelation *ar);

#endif							/* REPLICATION_PLUGIN_APPLY_REMOVE_H */
