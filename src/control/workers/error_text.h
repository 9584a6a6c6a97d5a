/*
 * error_text.h
 *		Passes an error from one process to another through shared memory.
 */
#ifndef REPLICATION_PLUGIN_ERROR_TEXT_H
#define REPLICATION_PLUGIN_ERROR_TEXT_H

#include "postgres.h"

#include "base/compat.h"

typedef struct ErrorText
{
	int			sqlstate;		/* 0: none */
	char		message[1024];
	char		detail[1024];	/* this and the following: empty if there is none */
	char		hint[1024];
	char		context[1024];
} ErrorText;

/* Takes the current error and flushes it. Call it in a PG_CATCH block, in a context that stays. */
extern void error_text_take(ErrorText *e);

/* Raises the error. what: what the other process was doing, added to the context; may be NULL. */
pg_noreturn extern void error_text_raise(const ErrorText *e, const char *what);

#endif							/* REPLICATION_PLUGIN_ERROR_TEXT_H */
