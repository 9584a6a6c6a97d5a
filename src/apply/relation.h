/*
 * relation.h
 *		A relation of the provider and the local table that it goes to.
 */
#ifndef REPLICATION_PLUGIN_APPLY_RELATION_H
#define REPLICATION_PLUGIN_APPLY_RELATION_H

#include "apply/apply.h"
#include "apply/target.h"
#include "merge/merge_table.h"
#include "store/tombstone.h"
#include "wire/value.h"
#include "wire/wire.h"

typedef struct ApplyRelation
{
	uint32		remote_id;		/* hash key */
	ApplyContext *cx;			/* whose it is */
	MemoryContext remote_context;	/* of remote */
	WireRelation remote;
	/* transaction (apply.h) in which it has been kept as the description of a change */
	uint64		kept_in;
	/* reading of the list of waiting tables (catalog/waiting_table.h) in which it was not */
	uint64		free_in;
	int64		spent;			/* microseconds that rows of it have taken: ... */
	int64		written;		/* ... so many, ... */
	int64		slow;			/* ... of which so many were slow */
	uint32		kept_relid;		/* of a kept change: the table's oid where it was written */
	/* no member had the table when a row of it came (receive/lost_table.c) */
	bool		passed_over;
	bool		valid;			/* false: map to the local table anew */
	MemoryContext context;		/* of everything below */
	Oid			relid;			/* local table (root) */
	Relation	rel;			/* open in this transaction, else NULL */
	Oid			owner;
	bool		partitioned;
	bool		envelope;		/* the table of kept changes */
	bool		runs_code;		/* writing rows can run functions of users (catalog/table_code.h) */
	Oid			key_index;		/* root's key */
	ApplyTarget *target;		/* in this transaction, when not partitioned */
	int			natts;			/* of the local table */
	AttrNumber *local_att;		/* per remote column: number here */
	ValueReader *readers;		/* per remote column */
	int			nkeys;
	AttrNumber *key_atts;		/* key columns here, in local key index order */
	int		   *key_wire;		/* their places in a key as the provider writes it */
	/* the provider's table had no key when the row was written: its inserts are welcome */
	bool		keyless_there;
	int			ndefaults;		/* columns that the provider does not have */
	AttrNumber *default_att;
	ExprState **default_expr;
	TombstoneKeys *tombstones;	/* NULL: the table has no key, or is one of our own */
	MergeTable *merge;			/* NULL: the table is not mergeable */
	/* rows can stand in each other's way by more than the key, or did */
	bool		contested;
	RowCodec   *codec;			/* NULL: like tombstones */
	/* place_open() has been called in this transaction, and has set these: */
	bool		placed;
	bool		parking;		/* each row is looked at before it is written */
	bool		pinned;			/* the table has pins */
	bool		await_known;	/* awaiting is of this transaction: */
	bool		awaiting;		/* a write of the table has been passed over (catalog/awaited.h) */
	TupleTableSlot *root_slot;	/* row in the root's layout (virtual) */

	/* the row at hand, in the root's layout */
	Datum	   *values;
	bool	   *nulls;
	bool	   *present;		/* false: not sent (unchanged TOAST, or a column unknown there) */
	bool		completed;		/* values that were not sent point into a local row */
} ApplyRelation;

/* To what the number of a relation refers. */
typedef enum RelationSet
{
	RELATIONS_SENT,				/* to what the provider has described in its stream */
	RELATIONS_KEPT				/* to what is described with each change that was kept (keep.h) */
} RelationSet;

/* Once per context. */
extern void relations_create(ApplyContext *cx);

/* From here on numbers are of this set. */
extern void relation_use(ApplyContext *cx, RelationSet set);
extern RelationSet relation_in_use(ApplyContext *cx);

/* Remembers a relation message. */
extern void relation_store(ApplyContext *cx, WireReader *r);

/*
 * The same of a kept change, unless it is known: with its type byte; empty if an earlier change of
 * the transaction had it. relid: the table's oid where the change was written; 0: not known.
 */
extern void relation_store_kept(ApplyContext *cx, WireReader *r, uint32 relid);

/* Name and columns that came for a relation id; NULL if none. */
extern const WireRelation *relation_remote(ApplyContext *cx, uint32 remote_id);

/*
 * The same is to be kept with a change, in a transaction of this number; false if it has been, as
 * it is.
 */
extern bool relation_to_be_kept(ApplyContext *cx, uint32 remote_id, uint64 transaction);

/*
 * True if the table is known not to wait, in that reading of the list of those that do; and notes
 * that it does not.
 */
extern bool relation_is_free(ApplyContext *cx, uint32 remote_id, uint64 reading);
extern void relation_note_free(ApplyContext *cx, uint32 remote_id, uint64 reading);

/* True if there is a local table of that name. Takes no lock. */
extern bool relation_exists(const WireRelation *remote);

/* Rows of a relation are passed over from here on, as long as there is no local table. */
extern void relation_pass_over(ApplyContext *cx, uint32 remote_id);
extern bool relation_is_passed_over(ApplyContext *cx, uint32 remote_id);

/*
 * The relation with its local table open in this transaction. NULL if there is no such table and
 * its rows are to be passed over: it is left out here (catalog/exclusion.h), or gone everywhere.
 */
extern ApplyRelation *relation_open_remote(ApplyContext *cx, uint32 remote_id);

/* A local table, without any provider; its columns are known by their own names and types. */
extern ApplyRelation *relation_open_local(ApplyContext *cx, Oid relid);

/*
 * The table that a row goes to: rel->target, or the leaf partition for the values
 * in rel->root_slot. For a key search only the key columns need to be set.
 */
extern ApplyTarget *relation_route(ApplyRelation *rel);

/* The same; NULL if there is no partition for the values. */
extern ApplyTarget *relation_route_any(ApplyRelation *rel);

/* The target for a leaf partition. */
extern ApplyTarget *relation_leaf(ApplyRelation *rel, Oid leaf);

/* The complaint about keys that differ. */
extern void relation_key_differs(ApplyRelation *rel);

extern void relation_close_all(ApplyContext *cx);	/* before commit */
extern void relation_reset(ApplyContext *cx);		/* after an abort */

#endif							/* REPLICATION_PLUGIN_APPLY_RELATION_H */
