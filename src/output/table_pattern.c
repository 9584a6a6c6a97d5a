/*
 * table_pattern.c
 *		Parses lists of tables in options: "public.users,audit.*,*.log_*".
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/name_pattern.h"
#include "output/option_list.h"
#include "output/table_pattern.h"

/* Both parts keep their backslashes, which are interpreted when matching. */
typedef struct TablePattern
{
	char	   *nspname;
	char	   *relname;
} TablePattern;

/* Returns the length of the text up to a separator without a backslash before it, or to the end. */
static size_t
part_length(const char *text, char separator)
{
	const char *p = text;

	while (*p != '\0' && *p != separator)
	{
		if (*p == '\\' && p[1] != '\0')
			p++;
		p++;
	}
	return p - text;
}

/* Copies a part without surrounding spaces; a space after a backslash stays. */
static char *
table_pattern_trim(const char *text, size_t len)
{
	while (len > 0 && text[0] == ' ')
	{
		text++;
		len--;
	}
	while (len > 0 && text[len - 1] == ' ' && !(len > 1 && text[len - 2] == '\\'))
		len--;
	return pnstrdup(text, len);
}

/* Reads one schema.table. */
static TablePattern *
parse_entry(const char *option, const char *entry)
{
	TablePattern *pattern = palloc(sizeof(TablePattern));
	size_t		len = part_length(entry, '.');

	if (entry[len] == '\0' || len == 0 || entry[len + 1] == '\0' ||
		entry[len + 1 + part_length(entry + len + 1, '.')] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has the entry \"%s\", which is not of the form schema.table",
						option, entry),
				 errhint("Write for example \"public.users\", \"audit.*\" or \"*.users\", with commas between.")));
	pattern->nspname = table_pattern_trim(entry, len);
	pattern->relname = table_pattern_trim(entry + len + 1, strlen(entry + len + 1));
	return pattern;
}

List *
table_pattern_parse(const char *option, const char *text)
{
	List	   *patterns = NIL;

	for (;;)
	{
		size_t		len = part_length(text, ',');

		CHECK_FOR_INTERRUPTS();
		option_list_check(option, list_length(patterns));
		patterns = lappend(patterns, parse_entry(option, table_pattern_trim(text, len)));
		if (text[len] == '\0')
			return patterns;
		text += len + 1;
	}
}

bool
table_pattern_matches(List *patterns, const char *nspname, const char *relname)
{
	ListCell   *lc;

	foreach(lc, patterns)
	{
		TablePattern *pattern = lfirst(lc);

		if (name_pattern_matches(pattern->nspname, nspname) &&
			name_pattern_matches(pattern->relname, relname))
			return true;
	}
	return false;
}
