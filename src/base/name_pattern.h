/*
 * name_pattern.h
 *		Names with stars: "*" stands for any characters, a backslash makes the next character an
 *		ordinary one.
 */
#ifndef REPLICATION_PLUGIN_NAME_PATTERN_H
#define REPLICATION_PLUGIN_NAME_PATTERN_H

extern bool name_pattern_matches(const char *pattern, const char *name);

#endif							/* REPLICATION_PLUGIN_NAME_PATTERN_H */
