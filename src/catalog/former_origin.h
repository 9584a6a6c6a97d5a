/*
 * former_origin.h
 *		Former origins: the replication origins of nodes that are out. They keep their numbers,
 *		and take none of PostgreSQL's places for progress.
 */
#ifndef REPLICATION_PLUGIN_FORMER_ORIGIN_H
#define REPLICATION_PLUGIN_FORMER_ORIGIN_H

#include "access/xlogdefs.h"
#include "replication/origin.h"

#include "base/compat.h"

/* Returns the name of a former origin, palloc'd: that of the origin, and its progress. */
extern char *former_origin_name(const char *name, XLogRecPtr progress);

/*
 * Reads the progress of a former origin from the suffix of its name. Returns false if the suffix
 * has another form.
 */
extern bool former_origin_read(const char *suffix, XLogRecPtr *progress);

/* Renames an origin. Needs a transaction. */
extern void former_origin_rename(RepOriginId origin, const char *name);

/* Inserts the row of an origin whose number is free. Needs a transaction. */
extern void former_origin_insert(RepOriginId origin, const char *name);

/*
 * Frees the place for an origin's progress; the origin keeps its number and name. Needs a
 * transaction. An earlier transaction, which is flushed, must have written the progress into the
 * name, as the progress is lost at once. Raises an error if a process is using the origin.
 */
extern void former_origin_free(RepOriginId origin, const char *name);

#endif							/* REPLICATION_PLUGIN_FORMER_ORIGIN_H */
