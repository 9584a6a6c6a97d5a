/*
 * row_image.h
 *		Compares rows by their images.
 *
 * Two values have the same image if their bytes are the same after detoasting. Images distinguish
 * values that the type's equality does not distinguish (1.0 and 1.00, 0 and -0, texts that differ
 * in case), and need no equality operator (json, xml, point).
 */
#ifndef REPLICATION_PLUGIN_ROW_IMAGE_H
#define REPLICATION_PLUGIN_ROW_IMAGE_H

#include "apply/relation.h"

/*
 * Returns a target's row in the layout of the table to which the target belongs. It is valid until
 * the next call for that table.
 */
extern TupleTableSlot *row_image_of(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot);

/*
 * Returns true if a row has the image of the arriving row (ar->values) in all columns that the
 * provider has.
 */
extern bool row_image_equal(ApplyRelation *ar, TupleTableSlot *row);

/*
 * row_image_same_texts() compares in the same way, except that values of types that can have
 * several images of one value (arrays, composites, types of extensions, the sign of a NaN) are
 * equal if their texts are. The caller must have pinned the settings. row_image_has_texts() returns
 * false for a table without such columns.
 */
extern bool row_image_has_texts(ApplyRelation *ar);
extern bool row_image_same_texts(ApplyRelation *ar, TupleTableSlot *row);

/* Returns a hash of the columns that the provider has; equal images have equal hashes. */
extern uint32 row_image_hash(ApplyRelation *ar, const Datum *values, const bool *nulls);

#endif							/* REPLICATION_PLUGIN_ROW_IMAGE_H */
