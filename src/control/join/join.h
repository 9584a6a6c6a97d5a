/*
 * join.h
 *		Taking this database into a group: the pieces of the join worker.
 */
#ifndef REPLICATION_PLUGIN_JOIN_H
#define REPLICATION_PLUGIN_JOIN_H

#include "libpq-fe.h"

#include "catalog/nodes.h"

/* Steps of a join, in their order; names and successors are in join_state.c. */
typedef enum JoinStep
{
	JOIN_SLOT,					/* making a slot on the source, being admitted */
	JOIN_SCHEMA,				/* tables and functions */
	JOIN_COPY,					/* rows */
	JOIN_ADOPT,					/* a physical copy of the source: being admitted is all */
	JOIN_INDEXES,				/* indexes and constraints */
	JOIN_CATCHING_UP,			/* following the source */
	JOIN_OPENING,				/* through; slots and links for all */
	JOIN_READY
} JoinStep;

typedef struct Joining
{
	LocalNode  *local;
	JoinStep	state;
	PGconn	   *replication;	/* session of the source that keeps the exported snapshot alive */
	char	   *slot;			/* on the source */
	char	   *snapshot;
} Joining;

/* ---------- join_state.c: local_node, each call a transaction of its own ---------- */

/* Reads local_node anew. Ends the process if this database is not joining (any more). */
extern void join_read_state(Joining *join);

/*
 * Goes from the present state to another; ends the process if somebody else has changed it
 * (leave_group).
 */
extern void join_set_state(Joining *join, JoinStep to);

/* What the worker is at, for people. Ends the process if this database is not joining any more. */
extern void join_progress(const char *fmt,...) pg_attribute_printf(1, 2);

/*
 * Notes the error being handled for people and for the pause before the next try; ends its
 * transaction.
 */
extern void join_note_error(MemoryContext context);

/* Waits as long as the errors noted before ask for. */
extern void join_pause_after_failures(void);

extern const char *join_state_name(JoinStep state);

/* ---------- join_schema.c ---------- */

/*
 * Raises an error if the programs that copy a schema are missing here, or too old for that source.
 */
extern void join_require_programs(int source_version_num);

/* Dumps the schema in the snapshot, restores tables and functions, puts the rest away. */
extern void join_copy_schema(Joining *join);

/* Restores what was put away: indexes, constraints, triggers. */
extern void join_restore_indexes(Joining *join);

/* ---------- join_copy.c ---------- */

/* Opens a session of the source inside the snapshot, to read what there is. */
extern PGconn *join_open_source(Joining *join);

/* Copies all rows in the snapshot, several tables at a time. */
extern void join_copy_tables(Joining *join);

/* ---------- join_sequence.c ---------- */

/*
 * Sets the sequences to where they are on the source; not first: those that are further there by
 * now.
 */
extern void join_copy_sequences(Joining *join, bool first);

/* ---------- join_worker.c ---------- */

extern PGDLLEXPORT void replication_plugin_join_main(Datum dboid);

#endif							/* REPLICATION_PLUGIN_JOIN_H */
