/*
 * json_relation.h
 *		What the JSON format knows of a relation: texts that are the same in every row.
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
	/* as it is; NaN and infinities as strings, and all where that is asked for */
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
	/* in new rows behind the value: ,"optional":...,"position":...,"default":...  or "" */
	char	   *tail;
} JsonColumn;

typedef struct JsonRelation
{
	bool		shown;			/* if not, nothing below is set */
	int			natts;
	char	   *name;			/* "schema":...,"table":... */
	char	   *pk;				/* ,"pk":[...] or "" if that is not wanted */
	bool		full;			/* REPLICA IDENTITY FULL */
	int			ncolumns;
	JsonColumn *columns;
	Datum	   *values;
	bool	   *nulls;
	Datum	   *old_values;
	bool	   *old_nulls;
} JsonRelation;

/* Never NULL; look at shown. */
extern JsonRelation *json_relation_get(RelationCache *cache, const JsonOptions *options, Relation rel);

/* Appends a JSON string in the server encoding; bytes that are no valid text become \u00xx. */
extern void json_append_string(StringInfo out, const char *text);

#endif							/* REPLICATION_PLUGIN_JSON_RELATION_H */
