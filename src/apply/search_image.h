/*
 * search_image.h
 *		Finding the local row that a change of a table without a key is about.
 */
#ifndef REPLICATION_PLUGIN_SEARCH_IMAGE_H
#define REPLICATION_PLUGIN_SEARCH_IMAGE_H

#include "apply/relation.h"

/*
 * Finds one row that is the same as the one in ar->values in all columns that the provider has,
 * into t->found.
 */
extern bool search_image(ApplyRelation *ar, ApplyTarget *t);

#endif							/* REPLICATION_PLUGIN_SEARCH_IMAGE_H */
