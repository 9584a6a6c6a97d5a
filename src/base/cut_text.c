/*
 * cut_text.c
 *		Shortens texts that others have written to a length that people read.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/cut_text.h"

#define MOST_OF_ERROR	1000	/* bytes of a message, and of a detail */
#define MOST_OF_CONTEXT	200	/* bytes of a context */

char *
cut_text(const char *text, int most)
{
	int			len = text ? strnlen(text, (Size) most + 1) : 0;

	if (len <= most)
		return pstrdup(text ? text : "");
	return psprintf("%.*s...", pg_mbcliplen(text, len, most), text);
}

char *
cut_error_text(const ErrorData *error)
{
	return psprintf("%s%s%s", cut_text(error->message, MOST_OF_ERROR), error->detail ? " DETAIL: " : "",
					cut_text(error->detail, MOST_OF_ERROR));
}

char *
cut_error_context(const ErrorData *error)
{
	return psprintf("%s%s", error->context ? ": " : "", cut_text(error->context, MOST_OF_CONTEXT));
}
