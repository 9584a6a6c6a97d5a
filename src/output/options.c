/*
 * options.c
 *		What a subscriber asks of the output plugin when it starts a stream.
 *
 * An option that is not known is an error, never ignored: its sender relies on it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "output/options.h"
#include "output/table_pattern.h"
#include "wire/value.h"
#include "wire/wire.h"

/* ---------- single values ---------- */

/* Says that an option's value has no meaning. */
static void
bad_value(const char *name, const char *value, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%s\" for option \"%s\"", value, name),
			 errhint("Wanted is %s.", wanted)));
}

/* An option's value; every option but booleans has one. */
static char *
text_value(DefElem *option)
{
	if (option->arg == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" needs a value", option->defname)));
	return strVal(option->arg);
}

/* Without a value it is true. */
static bool
bool_value(DefElem *option)
{
	bool		result = true;

	if (option->arg != NULL && !parse_bool(strVal(option->arg), &result))
		bad_value(option->defname, strVal(option->arg), "true or false");
	return result;
}

/* Reads a whole number from 1; returns false if it is none. */
static bool
parse_positive(const char *text, int *result)
{
	char	   *end;
	long		value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < 1 || value > PG_INT32_MAX)
		return false;
	*result = (int) value;
	return true;
}

static int
positive_value(DefElem *option)
{
	int			result = 0;

	if (!parse_positive(text_value(option), &result))
		bad_value(option->defname, text_value(option), "a positive number");
	return result;
}

/* Says that an option is not known in a format. */
static void
unknown_option(const char *name, const char *format)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\" for format '%s'", name, format),
			 strcmp(format, "native") == 0 ?
			 errhint("Readers other than nodes of the group ask for format 'json'.") : 0));
}

bool
options_want_json(List *options)
{
	bool		json = false;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "format") != 0)
			continue;
		if (strcmp(text_value(option), "json") == 0)
			json = true;
		else if (strcmp(text_value(option), "native") == 0)
			json = false;
		else
			bad_value(option->defname, text_value(option), "'json' or 'native'");
	}
	return json;
}

/* ---------- format 'native' ---------- */

/* Checks the version of the protocol that the subscriber speaks. */
static void
check_protocol(int protocol)
{
	if (protocol != WIRE_PROTOCOL_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the subscriber speaks protocol %d of replication_plugin, this server speaks %d",
						protocol, WIRE_PROTOCOL_VERSION),
				 errhint("Install the same version of replication_plugin on both servers.")));
}

/* Text travels as it is, so both databases must have one encoding. */
static void
check_encoding(const char *encoding)
{
	if (pg_char_to_encoding(encoding) != GetDatabaseEncoding())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the subscriber's database has the encoding %s, this one has %s",
						encoding, GetDatabaseEncodingName()),
				 errhint("All databases of a group need the same encoding.")));
}

/* Reads 'own', 'all' or a list of node numbers. */
static void
parse_full_origins(DefElem *option, NativeOptions *result)
{
	char	   *list = pstrdup(text_value(option));
	char	   *save = NULL;

	result->all_origins = strcmp(list, "all") == 0;
	result->full_origins = NIL;
	if (result->all_origins || strcmp(list, "own") == 0)
		return;
	for (char *item = strtok_r(list, ", ", &save); item; item = strtok_r(NULL, ", ", &save))
	{
		int			node = 0;

		if (!parse_positive(item, &node))
			bad_value(option->defname, text_value(option), "'own', 'all' or node numbers with commas between");
		result->full_origins = list_append_unique_int(result->full_origins, node);
	}
}

/* Says that an option which a subscriber always sends is not there. */
static void
require(bool given, const char *name)
{
	if (!given)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is missing", name),
				 errhint("The format 'native' is for nodes of the group; readers other than these ask for format 'json'.")));
}

void
options_parse_native(List *options, NativeOptions *result)
{
	int			protocol = 0;
	bool		encoding_given = false;
	ListCell   *lc;

	memset(result, 0, sizeof(*result));
	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "protocol") == 0)
			protocol = positive_value(option);
		else if (strcmp(option->defname, "node_id") == 0)
			result->subscriber = positive_value(option);
		else if (strcmp(option->defname, "group_id") == 0)
			result->group_id = pstrdup(text_value(option));
		else if (strcmp(option->defname, "full_origins") == 0)
			parse_full_origins(option, result);
		else if (strcmp(option->defname, "layout") == 0)
			result->internal = strcmp(text_value(option), value_layout()) == 0;
		else if (strcmp(option->defname, "encoding") == 0)
		{
			check_encoding(text_value(option));
			encoding_given = true;
		}
		else if (strcmp(option->defname, "format") != 0)
			unknown_option(option->defname, "native");
	}
	require(protocol != 0, "protocol");
	check_protocol(protocol);
	require(result->subscriber != INVALID_NODE_ID, "node_id");
	require(result->group_id != NULL, "group_id");
	require(encoding_given, "encoding");
}

/* ---------- format 'json' ---------- */

typedef struct BoolOption
{
	const char *name;
	size_t		offset;			/* in JsonOptions */
	bool		initial;
} BoolOption;

static const BoolOption bool_options[] = {
	{"include-xids", offsetof(JsonOptions, include_xids), false},
	{"include-timestamp", offsetof(JsonOptions, include_timestamp), false},
	{"include-lsn", offsetof(JsonOptions, include_lsn), false},
	{"include-origin", offsetof(JsonOptions, include_origin), true},
	{"include-schemas", offsetof(JsonOptions, include_schemas), true},
	{"include-types", offsetof(JsonOptions, include_types), true},
	{"include-typmod", offsetof(JsonOptions, include_typmod), true},
	{"include-type-oids", offsetof(JsonOptions, include_type_oids), false},
	{"include-column-positions", offsetof(JsonOptions, include_positions), false},
	{"include-pk", offsetof(JsonOptions, include_pk), false},
	{"include-transaction", offsetof(JsonOptions, include_transaction), true},
	{"skip-empty-xacts", offsetof(JsonOptions, skip_empty), true},
};

/* Sets a yes-or-no option; returns false if there is none of that name. */
static bool
set_bool_option(DefElem *option, JsonOptions *result)
{
	for (int i = 0; i < lengthof(bool_options); i++)
	{
		if (strcmp(option->defname, bool_options[i].name) != 0)
			continue;
		*(bool *) ((char *) result + bool_options[i].offset) = bool_value(option);
		return true;
	}
	return false;
}

void
options_parse_json(List *options, JsonOptions *result)
{
	ListCell   *lc;

	memset(result, 0, sizeof(*result));
	for (int i = 0; i < lengthof(bool_options); i++)
		*(bool *) ((char *) result + bool_options[i].offset) = bool_options[i].initial;

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);
		const char *name = option->defname;

		if (strcmp(name, "format") == 0 || set_bool_option(option, result))
			continue;
		if (strcmp(name, "include-tables") == 0 || strcmp(name, "add-tables") == 0)
			result->include_tables = list_concat(result->include_tables,
												 table_pattern_parse(name, text_value(option)));
		else if (strcmp(name, "exclude-tables") == 0 || strcmp(name, "filter-tables") == 0)
			result->exclude_tables = list_concat(result->exclude_tables,
												 table_pattern_parse(name, text_value(option)));
		else if (strcmp(name, "format-version") == 0)
		{
			if (strcmp(text_value(option), "2") != 0)
				bad_value(name, text_value(option), "2, which is the only one");
		}
		else
			unknown_option(name, "json");
	}
}
