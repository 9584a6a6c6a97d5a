/*
 * cut_text.h
 *		Texts of others, no longer than people read.
 */
#ifndef REPLICATION_PLUGIN_CUT_TEXT_H
#define REPLICATION_PLUGIN_CUT_TEXT_H

#include "utils/elog.h"

/*
 * A copy of a text, cut to so many bytes at the end of a character, with dots behind it if it was
 * longer. NULL is empty.
 */
extern char *cut_text(const char *text, int most);

/* Message and detail of an error, cut: code of users raises what it likes. */
extern char *cut_error_text(const ErrorData *error);

#endif							/* REPLICATION_PLUGIN_CUT_TEXT_H */
