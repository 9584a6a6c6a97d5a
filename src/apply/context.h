/*
 * context.h
 *		What an applier knows of itself, of the transaction that it applies and of the row at hand:
 *		for the files of this folder only.
 *
 * Each applier has one (apply_create()). Functions get it as an argument, or find it in the table
 * at hand (ApplyRelation.cx). Two kinds of state are not in it, as they belong to the process,
 * whoever applies there:
 * - caches, all of which can be thrown away: executor state of tables (target.c), indexes of row
 *   images (image_index.c), the plan of a statement (keep.c);
 * - what PostgreSQL has once in a process: the transaction, with the tables and the tombstones that
 *   are open in it (target.c, store/tombstone.c), and the origin that is taken (session_origin.c).
 */
#ifndef REPLICATION_PLUGIN_APPLY_CONTEXT_H
#define REPLICATION_PLUGIN_APPLY_CONTEXT_H

#include "apply/apply.h"
#include "apply/relation.h"
#include "log/conflict_log.h"

/* From whom something comes, and what that node had applied when it sent it. */
typedef struct ApplyPeer
{
	NodeId		provider;
	const char *dsn;			/* NULL: as the table of members says */
	const Frontier *seen;
	TransactionId xid;			/* there */
	/* its number of the table, where that is not the one of the message; else 0 */
	uint32		relid;
} ApplyPeer;

/* Of the files that have more to keep than a field; each makes its own. */
struct Relations;				/* relation.c: what the provider has described */
struct Gathered;				/* put.c: inserts that wait to be written together */
struct Scout;					/* scout.c: what is found out of a transaction that is only read */

struct ApplyContext
{
	/* of the link; of the change at hand, where another node had to keep that */
	ApplyPeer	link;
	NodeId		provider;
	const char *provider_dsn;
	const Frontier *seen;
	uint32		relid;

	/* of the transaction */
	bool		active;
	uint64		number;			/* of the transactions of this process */
	Moment		began;
	WireBegin	begin;
	Version		version;		/* of every write of it */
	ApplyMode	mode;
	bool		significant;	/* not just a frontier row */
	bool		wrote;			/* changed something that decoding will see */
	uint64		rows;
	List	   *doubts;			/* constraints to be checked at its end: doubt.c */
	Oid			doubtful;		/* table that is being checked then, also after a failure */
	List	   *parked;			/* rows that it has parked: park.c */
	List	   *passed_over;	/* tables of which it has passed writes over: fetch.c */
	struct Gathered *gathered;

	/* of the row */
	MemoryContext row_context;	/* reset after each row (run of inserts) */
	const char *action;			/* "INSERT", ... for messages */
	uint32		remote_id;
	WireTuple	newtup;
	WireTuple	oldtup;
	bool		has_old;		/* oldtup is set */
	bool		keeping;		/* it is being kept, as its table waits; also after a failure */
	const char *message;		/* as it came, with its type byte */
	int			message_len;
	WireWrite	write;			/* of a mergeable table: its context; row or key are in newtup */

	/* of the applier, from transaction to transaction */
	struct Relations *relations;
	struct Scout *scout;		/* NULL: none was needed yet */
	MemoryContext envelope;		/* of what the last change of another node held: keep.c; or NULL */
	/* to the node that was asked for values: fetch.c; kept over aborts */
	struct pg_conn *conn;
	NodeId		conn_to;		/* that node */
};

/* True if the transaction at hand replaces a row or tombstone of that version. */
extern bool apply_wins(const ApplyContext *cx, Version local);

/* True if the writer of the transaction at hand had seen that version. */
extern bool apply_was_seen(const ApplyContext *cx, Version local);

/*
 * Raises an error if the row at hand is of a table that has no key where it was written, and its
 * writer had seen the row of that version, which has its key here: the two rows there would be one
 * here.
 */
extern void apply_refuse_twin(ApplyRelation *ar, Version local);

/* Records a conflict, unless the writer had seen what it met. */
extern void apply_conflict(ApplyRelation *ar, ConflictType type, ConflictResolution resolution,
						   TupleTableSlot *local_row, Version local_version,
						   TupleTableSlot *remote_row, TupleTableSlot *key_row);

#endif							/* REPLICATION_PLUGIN_APPLY_CONTEXT_H */
