/*
 * text_array.c
 *		Arrays of texts as parameters of queries, in the text form of text[].
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/text_array.h"

/* Appends a value with quotes. */
static void
append_element(StringInfo array, const char *value)
{
	appendStringInfoChar(array, '"');
	for (const char *c = value; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(array, '\\');
		appendStringInfoChar(array, *c);
	}
	appendStringInfoChar(array, '"');
}

char *
text_array(const char *const *values, int n)
{
	StringInfoData array;

	initStringInfo(&array);
	appendStringInfoChar(&array, '{');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&array, ',');
		append_element(&array, values[i]);
	}
	appendStringInfoChar(&array, '}');
	return array.data;
}
