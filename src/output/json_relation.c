/*
 * json_relation.c
 *		What the JSON format knows of a relation: texts that are the same in every row.
 *
 * Built under the historic snapshot of the first row and again after every change of
 * the relation (relation_cache.c), so the per-row code reads no catalog.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "catalog/names.h"
#include "output/json_relation.h"
#include "output/table_pattern.h"

/* In a SQL_ASCII database text may be anything: takes it for Latin-1 where it is not UTF-8. */
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

/* Decides whether changes of a relation are shown. */
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

/* The same types as in wal2json. */
static JsonKind
kind_of(Oid typid)
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
			return JSON_NUMBER;
		case BOOLOID:
			return JSON_BOOLEAN;
		case BYTEAOID:
			return JSON_BYTES;
		default:
			return JSON_STRING;
	}
}

/* Appends what says which type a column has. */
static void
append_type(StringInfo out, const JsonOptions *options, CachedRelation *entry, Form_pg_attribute att)
{
	if (options->include_types)
	{
		char	   *name = options->include_typmod ?
			format_type_with_typemod(att->atttypid, att->atttypmod) : format_type_be(att->atttypid);

		appendStringInfoString(out, ",\"type\":");
		json_append_string(out, name);
		relation_cache_depends_on_type(entry, att->atttypid);
	}
	if (options->include_type_oids)
		appendStringInfo(out, ",\"typeoid\":%u", att->atttypid);
}

/* Prepares a column. */
static void
build_column(JsonColumn *column, const JsonOptions *options, CachedRelation *entry,
			 Form_pg_attribute att, bool identity)
{
	StringInfoData text;
	Oid			output;

	column->place = att->attnum - 1;
	column->kind = kind_of(att->atttypid);
	column->identity = identity;
	getTypeOutputInfo(att->atttypid, &output, &column->varlena);
	fmgr_info(output, &column->out);

	initStringInfo(&text);
	json_append_string(&text, NameStr(att->attname));
	column->name = text.data;
	initStringInfo(&text);
	appendStringInfo(&text, "{\"name\":%s", column->name);
	append_type(&text, options, entry, att);
	if (options->include_positions)
		appendStringInfo(&text, ",\"position\":%d", att->attnum);
	appendStringInfoString(&text, ",\"value\":");
	column->head = text.data;
}

/* Prepares all columns. */
static void
build_columns(JsonRelation *result, const JsonOptions *options, CachedRelation *entry, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *identity = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);

	result->full = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	result->columns = palloc0(Max(desc->natts, 1) * sizeof(JsonColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped)
			build_column(&result->columns[result->ncolumns++], options, entry, att,
						 bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, identity));
	}
}

/* Prepares the list of primary key columns. */
static char *
build_pk(const JsonOptions *options, CachedRelation *entry, Relation rel)
{
	Oid			index = RelationGetPrimaryKeyIndex(rel);
	StringInfoData text;
	HeapTuple	tup;
	Form_pg_index form;

	if (!options->include_pk || !OidIsValid(index))
		return pstrdup("");
	tup = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tup);
	initStringInfo(&text);
	appendStringInfoString(&text, ",\"pk\":[");
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), form->indkey.values[i] - 1);

		appendStringInfoString(&text, i > 0 ? ",{\"name\":" : "{\"name\":");
		json_append_string(&text, NameStr(att->attname));
		append_type(&text, options, entry, att);
		appendStringInfoChar(&text, '}');
	}
	appendStringInfoChar(&text, ']');
	ReleaseSysCache(tup);
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

/* Builds an entry anew. */
static JsonRelation *
build(CachedRelation *entry, const JsonOptions *options, Relation rel)
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
		build_columns(result, options, entry, rel);
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
	return build(entry, options, rel);
}
