/*
 * image_index.h
 *		Finding rows of a table without a key: an index of row images in the memory of the worker.
 */
#ifndef REPLICATION_PLUGIN_IMAGE_INDEX_H
#define REPLICATION_PLUGIN_IMAGE_INDEX_H

#include "apply/relation.h"

/*
 * Finds a row that has the image of the arriving one, into t->found. False says nothing: the caller
 * searches the table. The row is taken out of the index, as it is going to be changed or deleted.
 * The active snapshot shows what is there.
 */
extern bool image_index_take(ApplyRelation *ar, ApplyTarget *t);

/*
 * A search of the table has looked at so many pages: that, often enough, makes an index worth
 * while.
 */
extern void image_index_searched(ApplyRelation *ar, ApplyTarget *t, uint64 pages);

/* A row has been written. */
extern void image_index_add(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot);

/* Frees indexes that have not been used for a while. */
extern void image_index_tend(void);

/* Frees all, after an abort: rows that were taken out may be there again. */
extern void image_index_reset(void);

#endif							/* REPLICATION_PLUGIN_IMAGE_INDEX_H */
