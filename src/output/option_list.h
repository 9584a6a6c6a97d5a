/*
 * option_list.h
 *		Reads lists in options of the output plugin.
 */
#ifndef REPLICATION_PLUGIN_OPTION_LIST_H
#define REPLICATION_PLUGIN_OPTION_LIST_H

#include "nodes/pg_list.h"

/* Raises an error if a list in an option has already reached the maximum length. */
extern void option_list_check(const char *option, int length);

/*
 * Splits a list at commas into strings. Spaces around an entry are ignored. A backslash makes the
 * next character an ordinary one.
 */
extern List *option_list_read(const char *option, const char *text);

#endif							/* REPLICATION_PLUGIN_OPTION_LIST_H */
