/*
 * row.h
 *		Reads the values of arriving rows, and makes local rows of them.
 */
#ifndef REPLICATION_PLUGIN_APPLY_ROW_H
#define REPLICATION_PLUGIN_APPLY_ROW_H

#include "apply/relation.h"

/* Where unsent values can be taken from. */
typedef enum Missing
{
	MISSING_NONE,				/* all values were sent */
	MISSING_FROM_LOCAL,			/* from the local row, if it is the row that was updated */
	/* never from a local row: the updated row had another key, or the sender is not sure */
	MISSING_FROM_PROVIDER
} Missing;

/* Reads a whole row into ar->values, nulls and present. */
extern Missing row_read(ApplyRelation *ar, WireTuple *t);

/* Set values to the key values of a key tuple, or of the row in ar->values, in key index order. */
extern void row_read_key(ApplyRelation *ar, WireTuple *key, Datum *values);
extern void row_key_of_values(ApplyRelation *ar, Datum *values);

/* Stores the values in ar->root_slot; columns that are not present are null. */
extern TupleTableSlot *row_to_root_slot(ApplyRelation *ar);

/* Stores only a key in ar->root_slot. */
extern void row_key_to_root_slot(ApplyRelation *ar, const Datum *key);

/*
 * Fills slot, which has the target's layout, with the values. Columns that are not present come
 * from base (a row of the target), or from their defaults if base is NULL.
 */
extern void row_fill_slot(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *base,
						  TupleTableSlot *slot);

/* Evaluates the defaults of columns that the provider does not have, into ar->values. */
extern void row_add_defaults(ApplyRelation *ar, EState *estate);

#endif							/* REPLICATION_PLUGIN_APPLY_ROW_H */
