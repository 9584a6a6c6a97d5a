/*
 * options.c
 *		Options of the output plugin.
 *
 * Without an option format the plugin speaks to our own subscribers, who give the
 * protocol that they understand. With format 'json' anybody can read.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "output/options.h"
#include "wire/wire.h"

/* Reads a boolean; an option without a value is on. */
static bool
parse_bool_option(DefElem *def)
{
	bool		value;

	if (!def->arg)
		return true;
	if (!parse_bool(strVal(def->arg), &value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" needs a boolean, not \"%s\"", def->defname, strVal(def->arg))));
	return value;
}

/* Reads a text. */
static char *
parse_text_option(DefElem *def)
{
	if (!def->arg)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" needs a value", def->defname)));
	return pstrdup(strVal(def->arg));
}

/* Reads a number. */
static int
parse_int_option(DefElem *def)
{
	char	   *text = parse_text_option(def);
	char	   *end;
	long		value = strtol(text, &end, 10);

	if (*end || end == text || value <= 0 || value > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" needs a positive number, not \"%s\"", def->defname, text)));
	return (int) value;
}

/* Reads 'own', 'all' or node numbers. */
static void
parse_full_origins(OutputOptions *o, DefElem *def)
{
	char	   *text = parse_text_option(def);

	if (strcmp(text, "own") == 0)
		return;
	if (strcmp(text, "all") == 0)
	{
		o->all_origins = true;
		return;
	}
	for (char *p = strtok(text, ","); p; p = strtok(NULL, ","))
	{
		int			node = atoi(p);

		if (node <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" has an impossible node number \"%s\"", def->defname, p)));
		o->full_origins = lappend_int(o->full_origins, node);
	}
}

/* Reads a comma-separated list of table patterns. */
static List *
parse_tables(DefElem *def)
{
	char	   *text = parse_text_option(def);
	List	   *result = NIL;

	for (char *p = strtok(text, ","); p; p = strtok(NULL, ","))
	{
		char	   *pattern;

		while (*p == ' ')
			p++;
		pattern = pstrdup(p);
		while (*pattern && pattern[strlen(pattern) - 1] == ' ')
			pattern[strlen(pattern) - 1] = '\0';
		if (!strchr(pattern, '.'))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" needs tables as schema.table, not \"%s\"",
							def->defname, pattern),
					 errhint("An asterisk stands for any schema or any table.")));
		result = lappend(result, pattern);
	}
	return result;
}

/* Takes one option. Returns false if it is unknown. */
static bool
parse_one(OutputOptions *o, DefElem *def)
{
	const char *name = def->defname;

	if (strcmp(name, "format") == 0)
	{
		char	   *format = parse_text_option(def);

		if (strcmp(format, "json") != 0 && strcmp(format, "native") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown format \"%s\"", format),
					 errhint("The formats are \"json\" and \"native\".")));
		o->json = strcmp(format, "json") == 0;
	}
	else if (strcmp(name, "protocol") == 0)
		o->protocol = parse_int_option(def);
	else if (strcmp(name, "node_id") == 0)
		o->subscriber = parse_int_option(def);
	else if (strcmp(name, "group_id") == 0)
		o->group_id = parse_text_option(def);
	else if (strcmp(name, "full_origins") == 0)
		parse_full_origins(o, def);
	else if (strcmp(name, "layout") == 0)
		o->layout = parse_text_option(def);
	else if (strcmp(name, "encoding") == 0)
		o->encoding = parse_text_option(def);
	else if (strcmp(name, "include-tables") == 0 || strcmp(name, "add-tables") == 0)
		o->include_tables = parse_tables(def);
	else if (strcmp(name, "exclude-tables") == 0 || strcmp(name, "filter-tables") == 0)
		o->exclude_tables = parse_tables(def);
	else if (strcmp(name, "include-xids") == 0)
		o->include_xids = parse_bool_option(def);
	else if (strcmp(name, "include-timestamp") == 0)
		o->include_timestamp = parse_bool_option(def);
	else if (strcmp(name, "include-lsn") == 0)
		o->include_lsn = parse_bool_option(def);
	else if (strcmp(name, "include-types") == 0)
		o->include_types = parse_bool_option(def);
	else
		return false;
	return true;
}

/* Checks what a subscriber of ours has said. */
static void
check_native(OutputOptions *o)
{
	if (o->protocol == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"protocol\" is missing"),
				 errhint("Use format 'json' to read the changes with other programs.")));
	if (o->protocol != WIRE_PROTOCOL_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("protocol %d is not known here, only %d", o->protocol, WIRE_PROTOCOL_VERSION),
				 errhint("Install the same version of replication_plugin on all nodes.")));
	if (o->subscriber == INVALID_NODE_ID || !o->group_id)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is missing", o->group_id ? "node_id" : "group_id")));
}

void
options_parse(OutputOptions *o, List *defs)
{
	ListCell   *lc;

	memset(o, 0, sizeof(*o));
	o->include_types = true;
	foreach(lc, defs)
	{
		DefElem    *def = lfirst(lc);

		if (!parse_one(o, def))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%s\"", def->defname)));
	}
	if (!o->json)
		check_native(o);
}
