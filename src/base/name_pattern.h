/*
 * name_pattern.h
 *		Matches names with patterns: "*" stands for any characters, and a backslash makes the next
 *		character an ordinary one.
 */
#ifndef REPLICATION_PLUGIN_NAME_PATTERN_H
#define REPLICATION_PLUGIN_NAME_PATTERN_H

extern bool name_pattern_matches(const char *pattern, const char *name);

#endif							/* REPLICATION_PLUGIN_NAME_PATTERN_H */
