/*
 * join.h
 *		Takes this database into a group: the parts of the join worker.
 */
#ifndef REPLICATION_PLUGIN_JOIN_H
#define REPLICATION_PLUGIN_JOIN_H

#include "libpq-fe.h"

#include "catalog/nodes.h"

/* Steps of a join, in their order. Their names and successors are in join_state.c. */
typedef enum JoinStep
{
	JOIN_SLOT,					/* making a slot on the source, admission */
	JOIN_SCHEMA,				/* tables and functions */
	JOIN_COPY,					/* rows */
	JOIN_ADOPT,					/* a physical copy of the source: only the admission is left */
	JOIN_INDEXES,				/* indexes and constraints */
	JOIN_CATCHING_UP,			/* following the source */
	JOIN_OPENING,				/* caught up; slots and links for all */
	JOIN_READY
} JoinStep;

typedef struct Joining
{
	LocalNode  *local;
	JoinStep	state;
	PGconn	   *replication;	/* session on the source that keeps the snapshot alive */
	char	   *slot;			/* on the source */
	char	   *snapshot;
} Joining;

/* ---------- join_state.c: local_node, each call a transaction of its own ---------- */

/* Reads local_node anew. Ends the process if this database is not joining. */
extern void join_read_state(Joining *join);

/*
 * Changes the state. Ends the process if the present state in local_node is another one, by
 * leave_group().
 */
extern void join_set_state(Joining *join, JoinStep to);

/* Shows what the worker does. Ends the process if this database is not joining any more. */
extern void join_progress(const char *fmt,...) pg_attribute_printf(1, 2);

/*
 * Notes the current error for the view and for the pause before the next try. Aborts its
 * transaction.
 */
extern void join_note_error(MemoryContext context);

/* Waits for the pause that the errors noted before require. */
extern void join_pause_after_failures(void);

extern const char *join_state_name(JoinStep state);

/* ---------- join_schema.c ---------- */

/* Raises an error if the programs that copy a schema are missing here or too old for the source. */
extern void join_require_programs(int source_version_num);

/* Dumps the schema in the snapshot, restores tables and functions, and stores the rest. */
extern void join_copy_schema(Joining *join);

/* Restores the stored rest: indexes, constraints, triggers. */
extern void join_restore_indexes(Joining *join);

/* ---------- join_copy.c ---------- */

/* Opens a session on the source inside the snapshot. */
extern PGconn *join_open_source(Joining *join);

/* Copies all rows in the snapshot, several tables at a time. */
extern void join_copy_tables(Joining *join);

/* ---------- join_sequence.c ---------- */

/*
 * Sets the sequences to their state on the source. Unless first is true, sets only those that are
 * further there, or that were not used on this node.
 */
extern void join_copy_sequences(Joining *join, bool first);

/* ---------- join_worker.c ---------- */

extern PGDLLEXPORT void replication_plugin_join_main(Datum dboid);

#endif							/* REPLICATION_PLUGIN_JOIN_H */
