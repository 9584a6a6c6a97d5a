/*
 * row_text.h
 *		Rows on their way to a new member: a jsonb object of columns, values in the types' text form.
 */
#ifndef REPLICATION_PLUGIN_ROW_TEXT_H
#define REPLICATION_PLUGIN_ROW_TEXT_H

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/* Appends the members of such an object: all columns of a row, or n of them (by number). */
extern void row_text_append(StringInfo out, TupleTableSlot *row, const AttrNumber *only, int n);

/* Makes a row of one; what is not there is null. */
extern TupleTableSlot *row_text_read(Relation rel, JsonbContainer *values);

/* A field of an object (NULL if it is not there), as a number (0), as a truth value (false). */
extern JsonbValue *json_field(JsonbContainer *object, const char *name);
extern int64 json_number(JsonbContainer *object, const char *name);
extern bool json_truth(JsonbContainer *object, const char *name);

#endif							/* REPLICATION_PLUGIN_ROW_TEXT_H */
