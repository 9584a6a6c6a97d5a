/*
 * json_relation.h
 *		The JSON texts of a relation that are the same in every row.
 */
#ifndef REPLICATION_PLUGIN_JSON_RELATION_H
#define REPLICATION_PLUGIN_JSON_RELATION_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "output/options.h"
#include "output/relation_cache.h"

/* How a value is written. */
typedef enum JsonKind
{
	/* unquoted; NaN and infinities, or on request all numbers, as strings */
	JSON_NUMBER,
	JSON_BOOLEAN,
	JSON_BYTES,					/* hexadecimal digits */
	JSON_STRING					/* everything else */
} JsonKind;

typedef struct JsonColumn
{
	int			place;			/* in a deformed row */
	JsonKind	kind;
	bool		varlena;
	bool		identity;		/* belongs to the replica identity */
	FmgrInfo	out;
	char	   *name;			/* as a JSON string */
	char	   *head;			/* {"name":...,"type":...,"value": */
	/* after the value in new rows: ,"optional":...,"position":...,"default":...  or "" */
	char	   *tail;
} JsonColumn;

typedef struct JsonRelation
{
	bool		shown;			/* false: nothing below is set */
	int			natts;
	char	   *name;			/* "schema":...,"table":... */
	char	   *pk;				/* ,"pk":[...] or "" if not requested */
	bool		full;			/* REPLICA IDENTITY FULL */
	int			ncolumns;
	JsonColumn *columns;
	Datum	   *values;
	bool	   *nulls;
	Datum	   *old_values;
	bool	   *old_nulls;
} JsonRelation;

/* Returns the entry of a relation, never NULL. The caller must check "shown". */
extern JsonRelation *json_relation_get(RelationCache *cache, const JsonOptions *options,
									   Relation rel);

/*
 * Appends a JSON string in the server encoding. Bytes that are not valid text are appended as
 * \u00xx.
 */
extern void json_append_string(StringInfo out, const char *text);

#endif							/* REPLICATION_PLUGIN_JSON_RELATION_H */
