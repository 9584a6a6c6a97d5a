/*
 * row_text.h
 *		Rows on their way to a new member: a jsonb object of columns, values in the types' text
 *		form.
 */
#ifndef REPLICATION_PLUGIN_ROW_TEXT_H
#define REPLICATION_PLUGIN_ROW_TEXT_H

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "model/version.h"

/* Appends the members of such an object: all columns of a row, or n of them (by number). */
extern void row_text_append(StringInfo out, TupleTableSlot *row, const AttrNumber *only, int n);

/* Makes a row of one; what is not there is null. */
extern TupleTableSlot *row_text_read(Relation rel, JsonbContainer *values);

/* A field of an object (NULL if it is not there), as a number (0), as a truth value (false). */
extern JsonbValue *json_field(JsonbContainer *object, const char *name);
extern int64 json_number(JsonbContainer *object, const char *name);
extern bool json_truth(JsonbContainer *object, const char *name);

/*
 * A container as what it has to be, a field that is an object or an array, an element of an array
 * that is an object; an error if it is not.
 */
extern JsonbContainer *json_root(Jsonb *value);
extern JsonbContainer *json_object_at(JsonbContainer *object, const char *name);
extern JsonbContainer *json_array_at(JsonbContainer *object, const char *name);
extern JsonbContainer *json_object_in(JsonbContainer *array, int i);

/* Fields "ts" and "node"; without a node: of unknown version. */
extern Version json_version(JsonbContainer *object);

/* Key values of a row that was read; an error if one is null. */
extern void row_text_key(TupleTableSlot *row, const AttrNumber *attnums, int n, Datum *key);

#endif							/* REPLICATION_PLUGIN_ROW_TEXT_H */
