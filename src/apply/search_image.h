/*
 * search_image.h
 *		Finds the local row to which a change of a table without a key applies.
 */
#ifndef REPLICATION_PLUGIN_SEARCH_IMAGE_H
#define REPLICATION_PLUGIN_SEARCH_IMAGE_H

#include "apply/relation.h"

/*
 * Finds a row that equals the one in ar->values in all columns that the provider has, and stores it
 * in t->found. Returns false if there is none.
 */
extern bool search_image(ApplyRelation *ar, ApplyTarget *t);

#endif							/* REPLICATION_PLUGIN_SEARCH_IMAGE_H */
