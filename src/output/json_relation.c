/*
 * json_relation.c
 *		Prepares the JSON texts of a relation that are the same in every row.
 *
 * They are built under the historic snapshot of the first row, and again after every change of the
 * relation (relation_cache.c). The code for single rows therefore reads no catalog.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "catalog/names.h"
#include "output/json_relation.h"
#include "output/table_pattern.h"

/*
 * Appends a text of a SQL_ASCII database that is not valid UTF-8. Its bytes are taken as Latin-1.
 */
static void
append_any_bytes(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfo(out, "\\%c", *p);
		else if (*p < ' ' || *p >= 0x7f)
			appendStringInfo(out, "\\u%04x", *p);
		else
			appendStringInfoChar(out, *p);
	}
	appendStringInfoChar(out, '"');
}

void
json_append_string(StringInfo out, const char *text)
{
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		int			len = strlen(text);

		if (pg_encoding_verifymbstr(PG_UTF8, text, len) != len)
		{
			append_any_bytes(out, text);
			return;
		}
	}
	escape_json(out, text);
}

/* Returns true if changes of a relation are shown. */
static bool
is_shown(const JsonOptions *options, char relkind, const char *nspname, const char *relname)
{
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		return false;			/* a materialized view */
	if (table_pattern_matches(options->exclude_tables, nspname, relname))
		return false;
	if (options->include_tables != NIL)
		return table_pattern_matches(options->include_tables, nspname, relname);
	return strcmp(nspname, EXTENSION_SCHEMA) != 0;
}

/* Returns how values of a type are written, for the same types as in wal2json. */
static JsonKind
kind_of(const JsonOptions *options, Oid typid)
{
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return options->numbers_as_strings ? JSON_STRING : JSON_NUMBER;
		case BOOLOID:
			return JSON_BOOLEAN;
		case BYTEAOID:
			return JSON_BYTES;
		default:
			return JSON_STRING;
	}
}

/* Returns the name of a type, without SQL quotes if these enclose the whole name, like wal2json. */
static const char *
json_relation_unquoted(const char *name)
{
	StringInfoData inside;

	if (name[0] != '"')
		return name;
	initStringInfo(&inside);
	for (const char *p = name + 1; *p != '\0'; p++)
	{
		if (*p == '"' && *++p != '"')
			return *p == '\0' ? inside.data : name;
		appendStringInfoChar(&inside, *p);
	}
	return name;
}

/* Appends the type of a column. */
static void
append_type(StringInfo out, const JsonOptions *options, CachedRelation *entry,
			Form_pg_attribute att)
{
	if (options->include_types)
	{
		int32		typmod = att->atttypmod;
		Oid	  typid = options->include_base_types ? getBaseTypeAndTypmod(att->atttypid, &typmod)
												  : att->atttypid;
		char *name = options->include_typmod ? format_type_with_typemod(typid, typmod)
											 : format_type_be(typid);

		appendStringInfoString(out, ",\"type\":");
		json_append_string(out, json_relation_unquoted(name));
		relation_cache_depends_on_type(entry, att->atttypid);
		relation_cache_depends_on_type(entry, typid);
	}
	if (options->include_type_oids)
		appendStringInfo(out, ",\"typeoid\":%u", att->atttypid);
}

/* Returns the default expression of a column as SQL, or NULL if it has none. */
static char *
default_of(Relation rel, Form_pg_attribute att)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	for (int i = 0; att->atthasdef && !att->attgenerated && constr && i < constr->num_defval; i++)
	{
		if (constr->defval[i].adnum == att->attnum)
			return TextDatumGetCString(
				DirectFunctionCall2(pg_get_expr, CStringGetTextDatum(constr->defval[i].adbin),
									ObjectIdGetDatum(RelationGetRelid(rel))));
	}
	return NULL;
}

/* Returns the text after the value of a column in a new row. */
static char *
build_tail(const JsonOptions *options, Relation rel, Form_pg_attribute att)
{
	StringInfoData text;
	char	   *expression = options->include_default ? default_of(rel, att) : NULL;

	initStringInfo(&text);
	if (options->include_not_null)
		appendStringInfo(&text, ",\"optional\":%s", att->attnotnull ? "false" : "true");
	if (options->include_positions)
		appendStringInfo(&text, ",\"position\":%d", att->attnum);
	if (options->include_default)
		appendStringInfoString(&text, ",\"default\":");
	if (expression)
		json_append_string(&text, expression);
	else if (options->include_default)
		appendStringInfoString(&text, "null");
	return text.data;
}

/* Prepares a column. */
static void
build_column(JsonColumn *column, const JsonOptions *options, CachedRelation *entry, Relation rel,
			 Form_pg_attribute att, bool identity)
{
	StringInfoData text;
	Oid			output;

	column->place = att->attnum - 1;
	column->kind = kind_of(options, att->atttypid);
	column->identity = identity;
	getTypeOutputInfo(att->atttypid, &output, &column->varlena);
	fmgr_info(output, &column->out);

	initStringInfo(&text);
	json_append_string(&text, NameStr(att->attname));
	column->name = text.data;
	initStringInfo(&text);
	appendStringInfo(&text, "{\"name\":%s", column->name);
	append_type(&text, options, entry, att);
	appendStringInfoString(&text, ",\"value\":");
	column->head = text.data;
	column->tail = build_tail(options, rel, att);
}

/* Prepares all columns that are stored in rows. */
static void
json_relation_build_columns(JsonRelation *result, const JsonOptions *options, CachedRelation *entry,
							Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *identity = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);

	result->full = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	result->columns = palloc0(Max(desc->natts, 1) * sizeof(JsonColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL)
			build_column(&result->columns[result->ncolumns++], options, entry, rel, att,
						 bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, identity));
	}
}

/* Prepares the list of primary key columns, in the order of the table's columns. */
static char *
build_pk(const JsonOptions *options, CachedRelation *entry, Relation rel)
{
	Bitmapset  *key;
	StringInfoData text;
	int			i = -1;
	bool		first = true;

	if (!options->include_pk)
		return pstrdup("");
	key = OidIsValid(primary_key_index(rel))
			  ? RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY)
			  : NULL;
	initStringInfo(&text);
	appendStringInfoString(&text, ",\"pk\":[");
	while ((i = bms_next_member(key, i)) >= 0)
	{
		Form_pg_attribute att =
			TupleDescAttr(RelationGetDescr(rel), i + FirstLowInvalidHeapAttributeNumber - 1);

		appendStringInfoString(&text, first ? "{\"name\":" : ",{\"name\":");
		first = false;
		json_append_string(&text, NameStr(att->attname));
		append_type(&text, options, entry, att);
		appendStringInfoChar(&text, '}');
	}
	appendStringInfoChar(&text, ']');
	return text.data;
}

/* Prepares the relation's name. */
static char *
build_name(const JsonOptions *options, const char *nspname, const char *relname)
{
	StringInfoData text;

	initStringInfo(&text);
	if (options->include_schemas)
	{
		appendStringInfoString(&text, "\"schema\":");
		json_append_string(&text, nspname);
		appendStringInfoChar(&text, ',');
	}
	appendStringInfoString(&text, "\"table\":");
	json_append_string(&text, relname);
	return text.data;
}

/* Rebuilds an entry. */
static JsonRelation *
json_relation_build(CachedRelation *entry, const JsonOptions *options, Relation rel)
{
	MemoryContext caller = MemoryContextSwitchTo(relation_cache_begin_build(entry));
	JsonRelation *result = palloc0(sizeof(JsonRelation));
	char	   *nspname = get_namespace_name(RelationGetNamespace(rel));
	int			n = Max(RelationGetDescr(rel)->natts, 1);

	entry->data = result;
	relation_cache_depends_on_schema(entry, RelationGetNamespace(rel));
	result->natts = RelationGetDescr(rel)->natts;
	result->shown = nspname != NULL &&
		is_shown(options, rel->rd_rel->relkind, nspname, RelationGetRelationName(rel));
	if (result->shown)
	{
		result->name = build_name(options, nspname, RelationGetRelationName(rel));
		result->pk = build_pk(options, entry, rel);
		json_relation_build_columns(result, options, entry, rel);
		result->values = palloc(n * sizeof(Datum));
		result->nulls = palloc(n * sizeof(bool));
		result->old_values = palloc(n * sizeof(Datum));
		result->old_nulls = palloc(n * sizeof(bool));
	}
	MemoryContextSwitchTo(caller);
	return result;
}

JsonRelation *
json_relation_get(RelationCache *cache, const JsonOptions *options, Relation rel)
{
	CachedRelation *entry = relation_cache_get(cache, RelationGetRelid(rel));
	JsonRelation *result = entry->data;

	if (entry->valid && result->natts == RelationGetDescr(rel)->natts)
		return result;
	return json_relation_build(entry, options, rel);
}
