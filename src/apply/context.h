/*
 * context.h
 *		The state of an applier: of itself, of its transaction, and of the current row. Only the
 *		files of this directory include this header.
 *
 * Each applier has one context (apply_create()). Functions get it as an argument, or find it in the
 * current table (ApplyRelation.cx). Two kinds of state are not part of it, because they belong to
 * the process, whichever applier uses them:
 * - caches, all of which can be discarded: executor state of tables (target.c), indexes of row
 *   images (image_index.c);
 * - state that a PostgreSQL process has only once: the transaction, with the tables and tombstones
 *   that are open in it (target.c, store/tombstone.c), and the replication origin in use
 *   (session_origin.c).
 */
#ifndef REPLICATION_PLUGIN_APPLY_CONTEXT_H
#define REPLICATION_PLUGIN_APPLY_CONTEXT_H

#include "apply/apply.h"
#include "apply/relation.h"
#include "base/compat.h"
#include "log/conflict_log.h"

/* The sender of a change, and what that node had applied when it sent the change. */
typedef struct ApplyPeer
{
	NodeId		provider;
	const char *dsn;			/* NULL: taken from the table of members */
	const Frontier *seen;
	TransactionId xid;			/* xid on that node */
	/* that node's oid of the table, if it differs from the one in the message; otherwise 0 */
	uint32		relid;
} ApplyPeer;

/* State that is private to one file each; the file creates it. */
struct Relations;				/* relation.c: the relations that the provider has described */
struct Gathered;				/* put.c: inserts that are to be written together */
struct Scout;					/* scout.c: what was learned from a transaction that is only read */

struct ApplyContext
{
	/* of the link, or of the current change if another node kept that change */
	ApplyPeer	link;
	NodeId		provider;
	const char *provider_dsn;
	const Frontier *seen;
	uint32		relid;

	/* of the transaction */
	bool		active;
	uint64		number;			/* counts the transactions of this process */
	Moment		began;
	WireBegin	begin;
	Version		version;		/* of every write of the transaction */
	ApplyMode	mode;
	bool		significant;	/* it contains more than a frontier row */
	bool		wrote;			/* it changed something that decoding sees */
	uint64		rows;
	List	   *doubts;			/* constraints to check at its end: doubt.c */
	Oid			doubtful;		/* table being checked at its end, also after a failure */
	List	   *parked;			/* rows that the transaction has parked: park.c */
	List	   *passed_over;	/* tables of which it has passed over writes: fetch.c */
	struct Gathered *gathered;

	/* of the row */
	MemoryContext row_context;	/* reset after each row (or run of inserts) */
	const char *action;			/* "INSERT", ... for messages */
	uint32		remote_id;
	WireTuple	newtup;
	WireTuple	oldtup;
	bool		has_old;		/* oldtup is set */
	/* the row is being kept because its table waits; also after a failure */
	bool		keeping;
	const char *message;		/* as it arrived, with its type byte */
	int			message_len;
	WireWrite	write;			/* of a mergeable table: its context; row or key are in newtup */

	/* of the applier, kept across transactions */
	struct Relations *relations;
	struct Scout *scout;		/* NULL: not needed so far */
	MemoryContext envelope;		/* of the last kept change of another node: keep.c; or NULL */
	struct _SPI_plan *keep_plan;	/* stores a kept change: keep.c; NULL: not needed so far */
	/* connection to the node that is asked for values: fetch.c; survives aborts */
	struct pg_conn *conn;
	NodeId		conn_to;		/* the node to which conn is connected */
};

/* Returns true if the current transaction replaces a row or tombstone of that version. */
extern bool apply_wins(const ApplyContext *cx, Version local);

/* Returns true if that version is part of the past of the current transaction's writer. */
extern bool apply_was_seen(const ApplyContext *cx, Version local);

/*
 * Raises an error if the table of the current row has no key where the row was written, and the
 * local row of that version, which has the same key, is part of the writer's past. Such two rows of
 * the writer's node would become one row here.
 */
extern void apply_refuse_twin(ApplyRelation *ar, Version local);

/*
 * Records a conflict of the current row, concurrent unless its writer had seen local_version.
 * Records nothing if the source has decided all conflicts, or for replicated tables of the
 * extension itself.
 */
extern void apply_conflict(ApplyRelation *ar, ConflictKind type, ConflictResolution resolution,
						   TupleTableSlot *local_row, Version local_version,
						   TupleTableSlot *remote_row, TupleTableSlot *key_row);

#endif							/* REPLICATION_PLUGIN_APPLY_CONTEXT_H */
