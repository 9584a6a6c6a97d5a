/*
 * image_index.h
 *		Finds rows of a table without a key by an index of row images in the worker's memory.
 */
#ifndef REPLICATION_PLUGIN_IMAGE_INDEX_H
#define REPLICATION_PLUGIN_IMAGE_INDEX_H

#include "apply/relation.h"

/*
 * Finds a row with the image of the arriving row, and stores it in t->found. Removes the row from
 * the index, because it is about to be changed or deleted. False proves nothing: the caller must
 * search the table. Needs an active snapshot that shows the current rows.
 */
extern bool image_index_take(ApplyRelation *ar, ApplyTarget *t);

/*
 * Notes that a search has read this many pages of the table. Once enough pages have been read, an
 * index is built.
 */
extern void image_index_searched(ApplyRelation *ar, ApplyTarget *t, uint64 pages);

/* Adds a row that has just been written. */
extern void image_index_add(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot);

/* Frees indexes that have not been used for a while. */
extern void image_index_tend(void);

/* Frees all indexes, after an abort: rows that were removed from them may exist again. */
extern void image_index_reset(void);

/* Hook function for changes of tables (replication_plugin.c). */
extern void image_index_table_changed(Oid relid);

#endif							/* REPLICATION_PLUGIN_IMAGE_INDEX_H */
