/*
 * option_list.c
 *		Reads lists in options of the output plugin.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "output/option_list.h"

/* Limit of entries. Lists are searched for each relation or message, or entry by entry. */
#define MOST_ENTRIES	10000

void
option_list_check(const char *option, int length)
{
	if (length >= MOST_ENTRIES)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("option \"%s\" has more than %d entries", option, MOST_ENTRIES)));
}

List *
option_list_read(const char *option, const char *text)
{
	List	   *items = NIL;
	const char *p = text;
	StringInfoData item;
	int			len = 0;		/* of the item, without trailing spaces */

	initStringInfo(&item);
	for (;; p++)
	{
		CHECK_FOR_INTERRUPTS();
		if (*p == ',' || *p == '\0')
		{
			option_list_check(option, list_length(items));
			if (len > 0 || *p == ',' || items != NIL)
				items = lappend(items, pnstrdup(item.data, len));
			if (*p == '\0')
				return items;
			resetStringInfo(&item);
			len = 0;
			continue;
		}
		if (*p == ' ' && item.len == 0)
			continue;
		if (*p == '\\' && p[1] != '\0')
			p++;
		appendStringInfoChar(&item, *p);
		if (*p != ' ' || p[-1] == '\\')
			len = item.len;
	}
}
