/*
 * merge_number.h
 *		Numbers of counters.
 */
#ifndef REPLICATION_PLUGIN_MERGE_NUMBER_H
#define REPLICATION_PLUGIN_MERGE_NUMBER_H

#include "utils/numeric.h"

#include "model/merge.h"

extern Numeric merge_number_add(Numeric a, Numeric b);
extern Numeric merge_number_subtract(Numeric a, Numeric b);
extern int	merge_number_compare(Numeric a, Numeric b);

/* NaN and infinities: nothing can be added to them. */
extern bool merge_number_is_special(Numeric a);

/* A column's value as a number; NULL for null. */
extern Numeric merge_number_of(const MergeColumn *c, Datum value, bool isnull);

/* A number as the column's type has it: where that has no room, its limit. */
extern Datum merge_number_to_value(const MergeColumn *c, Numeric number, bool *clamped);

/* Fills in the limits of a counter's type. */
extern void merge_number_limits(MergeColumn *c);

#endif							/* REPLICATION_PLUGIN_MERGE_NUMBER_H */
