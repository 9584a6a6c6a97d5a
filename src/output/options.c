/*
 * options.c
 *		Parses the options with which a subscriber starts the output plugin.
 *
 * An unknown option is an error and is never ignored, because its sender relies on it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "output/option_list.h"
#include "output/options.h"
#include "output/table_pattern.h"
#include "wire/protocol.h"
#include "wire/value.h"

/* ---------- single values ---------- */

/* Raises the error that the value of an option is invalid. */
static void
options_bad_value(const char *name, const char *value, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%s\" for option \"%s\"", value, name),
			 errhint("Wanted is %s.", wanted)));
}

/* Returns the value of an option. Every option except booleans requires one. */
static char *
text_value(DefElem *option)
{
	if (option->arg == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" needs a value", option->defname)));
	return strVal(option->arg);
}

/* Returns the value of a boolean option, which is true without a value. */
static bool
bool_value(DefElem *option)
{
	bool		result = true;

	if (option->arg != NULL && !parse_bool(strVal(option->arg), &result))
		options_bad_value(option->defname, strVal(option->arg), "true or false");
	return result;
}

/* Reads a positive integer. Returns false if the text is not one. */
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
		options_bad_value(option->defname, text_value(option), "a positive number");
	return result;
}

/* Raises the error that an option is unknown in a format. */
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

		if (strcmp(option->defname, "format-version") == 0)
			json = true;		/* readers of wal2json do not know other formats */
		if (strcmp(option->defname, "format") != 0)
			continue;
		if (strcmp(text_value(option), "json") == 0)
			json = true;
		else if (strcmp(text_value(option), "native") == 0)
			json = false;
		else
			options_bad_value(option->defname, text_value(option), "'json' or 'native'");
	}
	return json;
}

/* ---------- format 'native' ---------- */

/* Checks the protocol that the subscriber asks for. */
static void
options_check_protocol(int protocol)
{
	if (protocol < WIRE_PROTOCOL_OLDEST || protocol > WIRE_PROTOCOL_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the subscriber asks for protocol %d of replication_plugin, version %s on this server speaks %d to %d",
						protocol, EXTENSION_VERSION, WIRE_PROTOCOL_OLDEST, WIRE_PROTOCOL_VERSION),
				 errhint("handshake() tells a subscriber which protocol it asks for.")));
}

/*
 * Checks the encoding. Text is sent without conversion, so both databases must have the same
 * encoding.
 */
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

		CHECK_FOR_INTERRUPTS();
		option_list_check(option->defname, list_length(result->full_origins));
		if (!parse_positive(item, &node))
			options_bad_value(option->defname, text_value(option),
					  "'own', 'all' or node numbers with commas between");
		result->full_origins = list_append_unique_int(result->full_origins, node);
	}
}

/* Reads the LSNs of transactions to skip. */
static void
parse_skip(DefElem *option, NativeOptions *result)
{
	List	   *items = option_list_read(option->defname, text_value(option));
	ListCell   *lc;

	result->skip = palloc(Max(list_length(items), 1) * sizeof(XLogRecPtr));
	foreach(lc, items)
	{
		uint32		high,
					low;
		char		rest;

		if (sscanf(lfirst(lc), "%X/%X%c", &high, &low, &rest) != 2)
			options_bad_value(option->defname, text_value(option),
							  "a list of LSNs with commas between");
		result->skip[result->nskip++] = ((uint64) high) << 32 | low;
	}
}

/* Raises an error if an option that a subscriber always sends is missing. */
static void
options_require(bool given, const char *name)
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
	bool		encoding_given = false;
	ListCell   *lc;

	memset(result, 0, sizeof(*result));
	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "protocol") == 0)
			result->protocol = positive_value(option);
		else if (strcmp(option->defname, "node_id") == 0)
			result->subscriber = positive_value(option);
		else if (strcmp(option->defname, "group_id") == 0)
			result->group_id = pstrdup(text_value(option));
		else if (strcmp(option->defname, "full_origins") == 0)
			parse_full_origins(option, result);
		else if (strcmp(option->defname, "skip") == 0)
			parse_skip(option, result);
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
	options_require(result->protocol != 0, "protocol");
	options_check_protocol(result->protocol);
	options_require(result->subscriber != INVALID_NODE_ID, "node_id");
	options_require(result->group_id != NULL, "group_id");
	options_require(encoding_given, "encoding");
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
	{"include-origin", offsetof(JsonOptions, include_origin), false},
	{"include-domain-data-type", offsetof(JsonOptions, include_base_types), false},
	{"include-not-null", offsetof(JsonOptions, include_not_null), false},
	{"include-default", offsetof(JsonOptions, include_default), false},
	{"numeric-data-types-as-string", offsetof(JsonOptions, numbers_as_strings), false},
	{"include-schemas", offsetof(JsonOptions, include_schemas), true},
	{"include-types", offsetof(JsonOptions, include_types), true},
	{"include-typmod", offsetof(JsonOptions, include_typmod), true},
	{"include-type-oids", offsetof(JsonOptions, include_type_oids), false},
	{"include-column-positions", offsetof(JsonOptions, include_positions), false},
	{"include-pk", offsetof(JsonOptions, include_pk), false},
	{"include-transaction", offsetof(JsonOptions, include_transaction), true},
	{"skip-empty-xacts", offsetof(JsonOptions, skip_empty), true},
};

/* Sets a boolean option. Returns false if there is none of that name. */
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

/* Reads which actions are requested; without a value, all are. */
static void
parse_actions(DefElem *option, JsonOptions *result)
{
	bool		hide = option->arg != NULL;
	ListCell   *lc;

	result->hide_insert = result->hide_update = result->hide_delete = result->hide_truncate = hide;
	if (!hide)
		return;
	foreach(lc, option_list_read(option->defname, text_value(option)))
	{
		const char *action = lfirst(lc);

		if (strcmp(action, "insert") == 0)
			result->hide_insert = false;
		else if (strcmp(action, "update") == 0)
			result->hide_update = false;
		else if (strcmp(action, "delete") == 0)
			result->hide_delete = false;
		else if (strcmp(action, "truncate") == 0)
			result->hide_truncate = false;
		else
			options_bad_value(option->defname, action, "a list of insert, update, delete and truncate, with commas between");
	}
}

/* Reads numbers of replication origins (pg_replication_origin.roident). */
static void
parse_filter_origins(DefElem *option, JsonOptions *result)
{
	ListCell   *lc;

	if (option->arg == NULL)
		return;
	foreach(lc, option_list_read(option->defname, text_value(option)))
	{
		int			origin = 0;

		if (!parse_positive(lfirst(lc), &origin))
			options_bad_value(option->defname, text_value(option), "a list of numbers of pg_replication_origin, with commas between");
		result->filter_origins = lappend_int(result->filter_origins, origin);
	}
}

/*
 * Reads an option of wal2json's format-version 2, including options that have no effect here.
 * Refuses the other format version. Returns false if the option is not one of these.
 */
static bool
parse_wal2json_option(DefElem *option, JsonOptions *result)
{
	const char *name = option->defname;

	if (strcmp(name, "actions") == 0)
		parse_actions(option, result);
	else if (strcmp(name, "filter-origins") == 0)
		parse_filter_origins(option, result);
	else if (strcmp(name, "add-msg-prefixes") == 0)
	{
		result->select_prefixes = true;
		result->add_prefixes =
			list_concat(result->add_prefixes,
						option->arg ? option_list_read(option->defname, text_value(option)) : NIL);
	}
	else if (strcmp(name, "filter-msg-prefixes") == 0)
		result->filter_prefixes =
			list_concat(result->filter_prefixes,
						option->arg ? option_list_read(option->defname, text_value(option)) : NIL);
	else if (strcmp(name, "pretty-print") == 0 || strcmp(name, "write-in-chunks") == 0)
		(void) bool_value(option);	/* each object is one line, and is sent separately */
	else if (strcmp(name, "include-unchanged-toast") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not supported, as it is not by wal2json", name),
				 errhint("Leave it out: values that an update did not touch are not in the WAL; \"unchanged\" names their columns.")));
	else if (strcmp(name, "format-version") == 0)
	{
		if (strcmp(text_value(option), "2") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("format-version %s is not supported", text_value(option)),
					 errhint("Ask for format-version 2: one JSON object for each change. Version 1 has one for each transaction, which must fit into memory.")));
	}
	else
		return false;
	return true;
}

void
options_parse_json(List *options, JsonOptions *result)
{
	ListCell   *lc;

	memset(result, 0, sizeof(*result));
	result->include_origin_node = true;
	for (int i = 0; i < lengthof(bool_options); i++)
		*(bool *) ((char *) result + bool_options[i].offset) = bool_options[i].initial;

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);
		const char *name = option->defname;

		if (strcmp(name, "format") == 0 || parse_wal2json_option(option, result))
			continue;
		if (set_bool_option(option, result))
		{
			if (strcmp(name, "include-origin") == 0)
				result->include_origin_node = result->include_origin;
			continue;
		}
		if (strcmp(name, "include-tables") == 0 || strcmp(name, "add-tables") == 0)
			result->include_tables = list_concat(result->include_tables,
												 table_pattern_parse(name, text_value(option)));
		else if (strcmp(name, "exclude-tables") == 0 || strcmp(name, "filter-tables") == 0)
			result->exclude_tables = list_concat(result->exclude_tables,
												 table_pattern_parse(name, text_value(option)));
		else
			unknown_option(name, "json");
	}
}
