/*
 * table_pattern.h
 *		Parses lists of tables in options: "public.users,audit.*,*.log_*".
 */
#ifndef REPLICATION_PLUGIN_TABLE_PATTERN_H
#define REPLICATION_PLUGIN_TABLE_PATTERN_H

#include "postgres.h"

#include "nodes/pg_list.h"

/*
 * Reads a list. In a name, "*" matches any characters, and a backslash makes the next character
 * (comma, point, space, star, backslash) an ordinary one. Returns a list of patterns. Raises an
 * error that names the option if an entry is not schema.table.
 */
extern List *table_pattern_parse(const char *option, const char *text);

extern bool table_pattern_matches(List *patterns, const char *nspname, const char *relname);

#endif							/* REPLICATION_PLUGIN_TABLE_PATTERN_H */
