/*
 * error_text.c
 *		Passes an error from one process to another through shared memory.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "control/workers/error_text.h"

/* Copies as much of a text as there is room for, in whole characters. */
static void
error_text_copy(char *to, Size size, const char *from)
{
	int			len = from ? pg_mbcliplen(from, strlen(from), size - 1) : 0;

	if (len > 0)
		memcpy(to, from, len);
	to[len] = '\0';
}

void
error_text_take(ErrorText *e)
{
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	error_text_copy(e->message, sizeof(e->message), error->message);
	error_text_copy(e->detail, sizeof(e->detail), error->detail);
	error_text_copy(e->hint, sizeof(e->hint), error->hint);
	error_text_copy(e->context, sizeof(e->context), error->context);
	e->sqlstate = error->sqlerrcode;
	FreeErrorData(error);
}

void
error_text_raise(const ErrorText *e, const char *what)
{
	ereport(ERROR,
			(errcode(e->sqlstate),
			 errmsg_internal("%s", e->message),
			 e->detail[0] ? errdetail_internal("%s", e->detail) : 0,
			 e->hint[0] ? errhint("%s", e->hint) : 0,
			 e->context[0] ? errcontext_msg("%s", e->context) : 0,
			 what ? errcontext_msg("%s", what) : 0));
	pg_unreachable();
}
