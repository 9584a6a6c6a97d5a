/*
 * cut_text.h
 *		Shortens texts that others have written to a length that people read.
 */
#ifndef REPLICATION_PLUGIN_CUT_TEXT_H
#define REPLICATION_PLUGIN_CUT_TEXT_H

#include "utils/elog.h"

/*
 * Returns a copy of a text, palloc'd. A text of more than most bytes is cut at the end of a
 * character, and dots are appended. NULL gives an empty text.
 */
extern char *cut_text(const char *text, int most);

/*
 * Returns the message and the detail of an error, palloc'd and cut, because code of users can raise
 * texts of any length.
 */
extern char *cut_error_text(const ErrorData *error);

/* The beginning of an error's context, behind a colon; empty if the error has no context. */
extern char *cut_error_context(const ErrorData *error);

#endif							/* REPLICATION_PLUGIN_CUT_TEXT_H */
