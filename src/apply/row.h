/*
 * row.h
 *		Values of an arriving row, and the local row that they make.
 */
#ifndef REPLICATION_PLUGIN_APPLY_ROW_H
#define REPLICATION_PLUGIN_APPLY_ROW_H

#include "apply/relation.h"

/* Where values that were not sent may be taken from. */
typedef enum Missing
{
	MISSING_NONE,				/* all values were sent */
	MISSING_FROM_LOCAL,			/* from the local row, if it is the one that was updated */
	/* never from here: the row that was updated had another key, or the sender is not sure */
	MISSING_FROM_PROVIDER
} Missing;

/* Reads a whole row into ar->values, nulls, present. */
extern Missing row_read(ApplyRelation *ar, WireTuple *t);

/* Key values of a key tuple, or of the row in ar->values, in key index order. */
extern void row_read_key(ApplyRelation *ar, WireTuple *key, Datum *values);
extern void row_key_of_values(ApplyRelation *ar, Datum *values);

/* Puts the values into ar->root_slot (columns that are not present: null). */
extern TupleTableSlot *row_to_root_slot(ApplyRelation *ar);

/* Puts only a key into ar->root_slot. */
extern void row_key_to_root_slot(ApplyRelation *ar, const Datum *key);

/*
 * Fills slot, of the target's layout, with the values; columns that are not present
 * come from base (a row of the target), or from their defaults if base is NULL.
 */
extern void row_fill_slot(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *base,
						  TupleTableSlot *slot);

/* Evaluates defaults of columns that the provider does not have, into ar->values. */
extern void row_add_defaults(ApplyRelation *ar, EState *estate);

#endif							/* REPLICATION_PLUGIN_APPLY_ROW_H */
