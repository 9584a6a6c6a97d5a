/*
 * former_origin.h
 *		Replication origins of nodes that are out: their numbers stay theirs, and take none of
 *		PostgreSQL's places for progress.
 */
#ifndef REPLICATION_PLUGIN_FORMER_ORIGIN_H
#define REPLICATION_PLUGIN_FORMER_ORIGIN_H

#include "access/xlogdefs.h"
#include "replication/origin.h"

/* The name of a former origin: that of the origin, and how far it had got; palloc'd. */
extern char *former_origin_name(const char *name, XLogRecPtr progress);

/* How far a former origin had got, by what follows its name; false if that is no such thing. */
extern bool former_origin_read(const char *suffix, XLogRecPtr *progress);

/* Gives an origin another name. Needs a transaction. */
extern void former_origin_rename(RepOriginId origin, const char *name);

/* Makes the row of an origin whose number is free. Needs a transaction. */
extern void former_origin_insert(RepOriginId origin, const char *name);

/*
 * Gives the place for an origin's progress back; number and name stay. Needs a transaction; the
 * name must say how far it had got, in an earlier transaction that is flushed, as the progress is
 * lost at once. An error if a process has the origin.
 */
extern void former_origin_free(RepOriginId origin, const char *name);

#endif							/* REPLICATION_PLUGIN_FORMER_ORIGIN_H */
