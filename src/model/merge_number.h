/*
 * merge_number.h
 *		The numbers of counters.
 */
#ifndef REPLICATION_PLUGIN_MERGE_NUMBER_H
#define REPLICATION_PLUGIN_MERGE_NUMBER_H

#include "utils/numeric.h"

#include "model/merge.h"

extern Numeric merge_number_add(Numeric a, Numeric b);
extern Numeric merge_number_subtract(Numeric a, Numeric b);
extern int	merge_number_compare(Numeric a, Numeric b);

/* Returns true for NaN and infinities, to which nothing can be added. */
extern bool merge_number_is_special(Numeric a);

/* Returns a column's value as a number; NULL for SQL NULL. */
extern Numeric merge_number_of(const MergeColumn *c, Datum value, bool isnull);

/*
 * Returns a number as a value of the column's type. If the number exceeds the type, returns the
 * limit and sets *clamped.
 */
extern Datum merge_number_to_value(const MergeColumn *c, Numeric number, bool *clamped);

/* Fills in the limits of a counter's type. */
extern void merge_number_limits(MergeColumn *c);

#endif							/* REPLICATION_PLUGIN_MERGE_NUMBER_H */
