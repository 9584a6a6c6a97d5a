/*
 * session.c
 *		The settings that are pinned, and how.
 *
 * Whether they are pinned, which is asked for each value, is answered from the variables behind the
 * settings. Where these are as required, as they always are in workers and in walsenders of the
 * group's streams, nothing is set.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/xml.h"

#include "base/compat.h"
#include "base/session.h"

/*
 * utils/pg_locale.h declares this, but includes the headers of ICU, which PostgreSQL's development
 * package does not bring.
 */
extern PGDLLIMPORT char *locale_monetary;

typedef struct Pin
{
	const char *name;
	const char *value;			/* without spaces: also used as a connection option */
} Pin;

/* Settings on which the text form of some type depends, in output or input. */
static const Pin text_pins[] = {
	{"DateStyle", "ISO,MDY"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "UTC"},
	{"extra_float_digits", "3"},
	{"bytea_output", "hex"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"array_nulls", "on"},
	{"lc_monetary", "C"},
	{"quote_all_identifiers", "off"},
};

/* Settings on which the outcome of statements depends; most values are PostgreSQL's defaults. */
static const Pin statement_pins[] = {
	{"standard_conforming_strings", "on"},
	{"backslash_quote", "safe_encoding"},
	{"transform_null_equals", "off"},
	{"row_security", "on"},
	{"gin_fuzzy_search_limit", "0"},
};

/* Further settings on which the texts that functions make depend. */
static const Pin code_pins[] = {
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"default_text_search_config", "pg_catalog.simple"},
};

/* The patience of a session of the extension. */
static const Pin patience_pins[] = {
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
};

/* The same, of newer servers. A setting that a server does not have cannot be set when connecting. */
static const struct
{
	int			since;			/* server_version_num */
	Pin			pin;
}			newer_patience_pins[] = {
	{170000, {"transaction_timeout", "0"}},
};

/* Settings that could end a session of the extension, or change what it does. */
static const Pin session_pins[] = {
	{"role", "none"},
	{"default_transaction_isolation", "read\\ committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"exit_on_error", "off"},
	{"work_mem", "4MB"},		/* the extension's statements need no temporary files then */
	{"check_function_bodies", "on"},
	{"default_table_access_method", "heap"},
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},
};

/*
 * The same, but only superusers may set these. A session on another node sets those that it needs
 * itself.
 */
static const Pin superuser_pins[] = {
	{"session_replication_role", "origin"},
	{"zero_damaged_pages", "off"},
	{"ignore_checksum_failure", "off"},
	{"temp_file_limit", "-1"},
	{"replication_plugin.code_as_owners", "on"},
};

/*
 * Settings by which statements and their parameters would be recorded. Some belong to extensions
 * that may be absent.
 */
static const Pin hiding_pins[] = {
	{"log_statement", "none"},
	{"log_min_duration_statement", "-1"},
	{"log_min_duration_sample", "-1"},
	{"log_transaction_sample_rate", "0"},
	{"log_min_error_statement", "panic"},
	{"log_parameter_max_length", "0"},
	{"log_parameter_max_length_on_error", "0"},
	{"debug_print_parse", "off"},
	{"debug_print_rewritten", "off"},
	{"debug_print_plan", "off"},
	{"track_activities", "off"},
	{"auto_explain.log_min_duration", "-1"},
	{"pg_stat_statements.track", "none"},
	{"pgaudit.log", "none"},
};

bool
session_type_names_objects(Oid typid)
{
	Oid			element = get_element_type(typid);

	switch (OidIsValid(element) ? element : typid)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
		case REGCOLLATIONOID:
		case REGDATABASEOID:
		case ACLITEMOID:
			return true;
		default:
			return false;
	}
}

Oid
session_output_function(Oid typid)
{
	Oid			out;
	bool		varlena;

	/*
	 * the bytes of xml are its text; its own output function omits an encoding declaration, and a
	 * line break at the beginning
	 */
	if (getBaseType(typid) == XMLOID)
		return F_TEXTOUT;
	getTypeOutputInfo(typid, &out, &varlena);
	return out;
}

/* ---------- nest levels ---------- */

bool
session_text_is_pinned(void)
{
	return DateStyle == USE_ISO_DATES && DateOrder == DATEORDER_MDY &&
		   IntervalStyle == INTSTYLE_POSTGRES && extra_float_digits > 0 &&
		   bytea_output == BYTEA_OUTPUT_HEX && xmlbinary == XMLBINARY_BASE64 &&
		   xmloption == XMLOPTION_CONTENT && Array_nulls && !quote_all_identifiers &&
		   strcmp(locale_monetary, "C") == 0 &&
		   strcmp(pg_get_timezone_name(session_timezone), "UTC") == 0;
}

/* Returns true if search_path is that of the extension's own SQL. */
static bool
path_is_pinned(void)
{
	return namespace_search_path && strcmp(namespace_search_path, SESSION_OWN_PATH) == 0;
}

/* Sets a setting until the end of the nest level. */
static void
set_nested(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* Sets all settings of a list until the end of the nest level. */
static void
set_all_nested(const Pin *pins, int n)
{
	for (int i = 0; i < n; i++)
		set_nested(pins[i].name, pins[i].value);
}

int
session_pin_text(bool path)
{
	bool		text = !session_text_is_pinned();
	int			nest;

	path = path && !path_is_pinned();
	if (!text && !path)
		return 0;
	nest = NewGUCNestLevel();
	if (text)
		set_all_nested(text_pins, lengthof(text_pins));
	if (path)
		set_nested("search_path", SESSION_OWN_PATH);
	return nest;
}

int
session_pin_binary(void)
{
	int			nest;

	if (pg_get_client_encoding() == GetDatabaseEncoding())
		return 0;
	nest = NewGUCNestLevel();
	set_nested("client_encoding", GetDatabaseEncodingName());
	return nest;
}

int
session_pin_code(const char *search_path)
{
	int			nest = NewGUCNestLevel();

	set_all_nested(text_pins, lengthof(text_pins));
	set_all_nested(statement_pins, lengthof(statement_pins));
	set_all_nested(code_pins, lengthof(code_pins));
	set_nested("search_path", search_path);
	return nest;
}

bool
session_in_row(void)
{
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	return (security & SESSION_ROW) != 0;
}

const char *
session_text_pin(const char *name)
{
	for (int i = 0; i < lengthof(text_pins); i++)
	{
		if (strcmp(text_pins[i].name, name) == 0)
			return text_pins[i].value;
	}
	elog(ERROR, "setting \"%s\" is not pinned", name);
	return NULL;
}

void
session_restore_text(void)
{
	if (session_text_is_pinned())
		return;
	for (int i = 0; i < lengthof(text_pins); i++)
		(void) set_config_option(text_pins[i].name, text_pins[i].value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

void
session_set_path(const char *search_path)
{
	if (!namespace_search_path || strcmp(namespace_search_path, search_path) != 0)
		set_nested("search_path", search_path);
}

int
session_pin_path(const char *search_path)
{
	int			nest;

	if (namespace_search_path && strcmp(namespace_search_path, search_path) == 0)
		return 0;
	nest = NewGUCNestLevel();
	session_set_path(search_path);
	return nest;
}

int
session_sql_begin(void)
{
	int			nest = session_pin_path(SESSION_OWN_PATH);

	SPI_connect();
	return nest;
}

void
session_sql_end(int nest)
{
	SPI_finish();
	session_unpin(nest);
}

void
session_keep_plan(SPIPlanPtr *plan, const char *sql, int nparams, Oid *types)
{
	SPIPlanPtr	p;

	if (*plan)
		return;
	p = SPI_prepare(sql, nparams, types);
	if (!p || SPI_keepplan(p) != 0)
		elog(ERROR, "could not prepare \"%s\"", sql);
	*plan = p;
}

void
session_unpin(int nest)
{
	Assert(nest >= 0);
	if (nest)
		AtEOXact_GUC(false, nest);
}

void
session_hide(bool local)
{
	for (int i = 0; i < lengthof(hiding_pins); i++)
	{
		if (GetConfigOption(hiding_pins[i].name, true, false))
			(void) set_config_option(hiding_pins[i].name, hiding_pins[i].value, PGC_SUSET,
									 PGC_S_SESSION, local ? GUC_ACTION_LOCAL : GUC_ACTION_SET, true,
									 0, false);
	}
}

/* ---------- workers ---------- */

/* Removes the backslashes of connection options from a value; palloc'd. */
static const char *
session_plain(const char *value)
{
	char	   *result = pstrdup(value);
	char	   *to = result;

	for (const char *p = value; *p; p++)
	{
		if (*p != '\\')
			*to++ = *p;
	}
	*to = '\0';
	return result;
}

/* Sets all settings of a list for the life of the process. */
static void
set_all(const Pin *pins, int n)
{
	for (int i = 0; i < n; i++)
		SetConfigOption(pins[i].name, session_plain(pins[i].value), PGC_SUSET, PGC_S_OVERRIDE);
}

void
session_pin_worker(void)
{
	/*
	 * PostgreSQL applies a database's session_authorization only where a session begins without a
	 * user's name, as workers do
	 */
	if (GetSessionUserId() != GetAuthenticatedUserId())
		SetSessionAuthorization(GetAuthenticatedUserId(), true);
	set_all(text_pins, lengthof(text_pins));
	set_all(statement_pins, lengthof(statement_pins));
	set_all(patience_pins, lengthof(patience_pins));
	for (int i = 0; i < lengthof(newer_patience_pins); i++)
	{
		if (SERVER_VERSION_NUM >= newer_patience_pins[i].since)
			set_all(&newer_patience_pins[i].pin, 1);
	}
	set_all(session_pins, lengthof(session_pins));
	set_all(superuser_pins, lengthof(superuser_pins));
	SetConfigOption("search_path", SESSION_OWN_PATH, PGC_SUSET, PGC_S_OVERRIDE);
	if (GetConfigOption("auto_explain.log_min_duration", true, false))
		/* plans contain values: in the extension's own tables, dsns */
		SetConfigOption("auto_explain.log_min_duration", "-1", PGC_SUSET, PGC_S_OVERRIDE);
	if (OidIsValid(MyDatabaseId))
		SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_USERSET, PGC_S_OVERRIDE);
}

/* ---------- sessions elsewhere ---------- */

/* Appends a list as connection options. */
static void
append_options(StringInfo out, const Pin *pins, int n)
{
	for (int i = 0; i < n; i++)
		appendStringInfo(out, " -c %s=%s", pins[i].name, pins[i].value);
}

char *
session_peer_options(const char *user_options)
{
	StringInfoData options;

	initStringInfo(&options);
	append_options(&options, patience_pins, lengthof(patience_pins));
	if (user_options)
		appendStringInfo(&options, " %s", user_options);
	append_options(&options, text_pins, lengthof(text_pins));
	append_options(&options, statement_pins, lengthof(statement_pins));
	append_options(&options, session_pins, lengthof(session_pins));
	appendStringInfoString(&options, " -c search_path=pg_catalog,pg_temp");
	return options.data;
}

const char *
session_peer_sql(int server_version_num)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < lengthof(newer_patience_pins); i++)
	{
		const Pin  *pin = &newer_patience_pins[i].pin;

		if (server_version_num >= newer_patience_pins[i].since)
			appendStringInfo(&sql, "SET %s = %s;", pin->name, pin->value);
	}
	return sql.len > 0 ? sql.data : NULL;
}
