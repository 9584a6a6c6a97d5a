/*
 * row_text.h
 *		Text form of rows for a new member: a jsonb object of columns, with values in the text
 *		form
 *		of their types.
 */
#ifndef REPLICATION_PLUGIN_ROW_TEXT_H
#define REPLICATION_PLUGIN_ROW_TEXT_H

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "model/version.h"

/*
 * Appends the members of such an object, without braces: all columns of a row, or the n columns
 * with the numbers in "only".
 */
extern void row_text_append(StringInfo out, TupleTableSlot *row, const AttrNumber *only, int n);

/* Returns a row made of such an object; columns that are missing are null. */
extern TupleTableSlot *row_text_read(Relation rel, JsonbContainer *values);

/*
 * Return a field of an object (NULL if it is missing), as a number (0), or as a truth value
 * (false).
 */
extern JsonbValue *json_field(JsonbContainer *object, const char *name);
extern int64 json_number(JsonbContainer *object, const char *name);
extern bool json_truth(JsonbContainer *object, const char *name);

/*
 * Return a container of the required kind: the root object, a field that is an object or an array,
 * or an array element that is an object. Raise an error if it is not of that kind.
 */
extern JsonbContainer *json_root(Jsonb *value);
extern JsonbContainer *json_object_at(JsonbContainer *object, const char *name);
extern JsonbContainer *json_array_at(JsonbContainer *object, const char *name);
extern JsonbContainer *json_object_in(JsonbContainer *array, int i);

/* Reads a version from the fields "ts" and "node"; VERSION_OLDEST without a node. */
extern Version json_version(JsonbContainer *object);

/* Sets key to the key values of a row that was read. Raises an error if one is null. */
extern void row_text_key(TupleTableSlot *row, const AttrNumber *attnums, int n, Datum *key);

#endif							/* REPLICATION_PLUGIN_ROW_TEXT_H */
