/*
 * row_image.h
 *		Comparing rows by their bytes.
 *
 * Two values have the same image if their bytes are the same, once taken out of TOAST. That tells
 * apart what the type's equality does not (1.0 and 1.00, 0 and -0, texts that differ in case), and
 * needs no equality (json, xml, point).
 */
#ifndef REPLICATION_PLUGIN_ROW_IMAGE_H
#define REPLICATION_PLUGIN_ROW_IMAGE_H

#include "apply/relation.h"

/*
 * The row of a target in the layout of the table that it belongs to. Good until the next call for
 * the table.
 */
extern TupleTableSlot *row_image_of(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot);

/*
 * True if a row has the image of the arriving one (ar->values) in all columns that the provider
 * has.
 */
extern bool row_image_equal(ApplyRelation *ar, TupleTableSlot *row);

/*
 * The same, but values of types that can have several images of one value (arrays, composites,
 * types of extensions, the sign of a NaN) are the same if their texts are; the caller has pinned
 * the settings. False for a table without such columns.
 */
extern bool row_image_has_texts(ApplyRelation *ar);
extern bool row_image_same_texts(ApplyRelation *ar, TupleTableSlot *row);

/* Hashes the columns that the provider has, such that equal images hash alike. */
extern uint32 row_image_hash(ApplyRelation *ar, const Datum *values, const bool *nulls);

#endif							/* REPLICATION_PLUGIN_ROW_IMAGE_H */
