/*
 * join.h
 *		Taking this database into a group: the pieces of the join worker.
 */
#ifndef REPLICATION_PLUGIN_JOIN_H
#define REPLICATION_PLUGIN_JOIN_H

#include "libpq-fe.h"

#include "catalog/nodes.h"

/* States of local_node while a node joins, in this order; see join_worker.c. */
#define JOIN_START			"joining: start"	/* nothing that would survive a restart */
#define JOIN_CATCHING_UP	"joining: catching up"	/* copied; following the source */
#define JOIN_OPENING		"joining: opening links"	/* has what the members had at its admission */
#define JOIN_READY			"ready"

typedef struct Join
{
	LocalNode  *local;
	PGconn	   *replication;	/* session of the source that holds the exported snapshot */
	char	   *slot;			/* on the source */
	char	   *snapshot;
	char	   *source_password;	/* NULL: none */
} Join;

/* What the worker is at, for people: local_node.progress. */
extern void join_progress(const char *fmt,...) pg_attribute_printf(1, 2);

/* join_schema.c: dumps the source's schema in the snapshot, restores it in two parts. */
extern void join_dump_schema(Join *join, const char *file);
extern void join_restore_schema(Join *join, const char *file, const char *section);

/* join_copy.c: copies all rows in the snapshot, several tables at a time. */
extern void join_copy_tables(Join *join);

extern PGDLLEXPORT void replication_plugin_join_main(Datum dboid);

#endif							/* REPLICATION_PLUGIN_JOIN_H */
