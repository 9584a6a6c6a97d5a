/*
 * relation.h
 *		Maps relations of the provider to local tables.
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
	ApplyContext *cx;			/* the context to which it belongs */
	MemoryContext remote_context;	/* of remote */
	WireRelation remote;
	/* number of the transaction (apply.h) that has kept the description with a change */
	uint64		kept_in;
	/* reading of the list of waiting tables (catalog/waiting_table.h) without this table */
	uint64		free_in;
	int64		spent;			/* time that its rows have taken, in microseconds */
	int64		written;		/* number of these rows */
	int64		slow;			/* number of slow rows among them */
	uint32		kept_relid;		/* of a kept change: the table's oid where the change was written */
	/* no member had the table when one of its rows arrived (receive/lost_table.c) */
	bool		passed_over;
	bool		valid;			/* false: the map must be rebuilt */
	MemoryContext context;		/* of everything below */
	Oid			relid;			/* local table (root) */
	Relation	rel;			/* open in this transaction, else NULL */
	Oid			owner;
	bool		partitioned;
	bool		envelope;		/* it is the table of kept changes */
	bool		runs_code;		/* writing rows can run functions of users (catalog/table_code.h) */
	Oid			key_index;		/* index of the root's key */
	ApplyTarget *target;		/* in this transaction, if not partitioned */
	int			natts;			/* of the local table */
	AttrNumber *local_att;		/* per remote column: local attribute number */
	ValueReader *readers;		/* per remote column */
	int			nkeys;
	AttrNumber *key_atts;		/* local key columns, in key index order */
	int		   *key_wire;		/* their positions in a key as the provider writes it */
	/* the provider's table had no key when the row was written; its inserts are accepted */
	bool		keyless_there;
	int			ndefaults;		/* number of columns that the provider does not have */
	AttrNumber *default_att;
	ExprState **default_expr;
	TombstoneKeys *tombstones;	/* NULL: the table has no key, or belongs to the extension */
	MergeTable *merge;			/* NULL: the table is not mergeable */
	/* rows can conflict by keys other than the key, or have parked rows or pins */
	bool		contested;
	RowCodec   *codec;			/* NULL: as with tombstones */
	/* place_open() was called in this transaction, and has set the next two: */
	bool		placed;
	bool		parking;		/* rows are checked one by one before they are written */
	bool		pinned;			/* the table has pins */
	bool		await_known;	/* awaiting was determined in this transaction */
	bool		awaiting;		/* a write of the table has been passed over (catalog/awaited.h) */
	TupleTableSlot *root_slot;	/* a row in the root's layout (virtual) */

	/* the current row, in the root's layout */
	Datum	   *values;
	bool	   *nulls;
	/* false: not sent (unchanged TOAST value, or a column that the provider lacks) */
	bool	   *present;
	bool		completed;		/* values that were not sent point into a local row */
} ApplyRelation;

/* The set of descriptions to which relation ids refer. */
typedef enum RelationSet
{
	RELATIONS_SENT,				/* those that the provider has sent in its stream */
	RELATIONS_KEPT				/* those that are stored with kept changes (keep.h) */
} RelationSet;

/* Creates the relations of a context; called once per context. */
extern void relations_create(ApplyContext *cx);

/* Selects the set to which relation ids refer from here on. */
extern void relation_use(ApplyContext *cx, RelationSet set);
extern RelationSet relation_in_use(ApplyContext *cx);

/* Stores the description of a relation message. */
extern void relation_store(ApplyContext *cx, WireReader *r);

/*
 * Stores the description of a kept change, unless it is known already. The description begins with
 * its type byte; it is empty if an earlier change of the transaction had it. relid: the table's oid
 * where the change was written; 0: unknown.
 */
extern void relation_store_kept(ApplyContext *cx, WireReader *r, uint32 relid);

/* Returns the description (names, columns) of a relation id, or NULL if there is none. */
extern const WireRelation *relation_remote(ApplyContext *cx, uint32 remote_id);

/*
 * Returns true if the description is to be kept with a change in the transaction of this number;
 * false if that transaction has already kept it, unchanged.
 */
extern bool relation_to_be_kept(ApplyContext *cx, uint32 remote_id, uint64 transaction);

/*
 * relation_is_free() returns true if the table is known not to wait, as of this reading of the list
 * of waiting tables. relation_note_free() notes that it does not wait.
 */
extern bool relation_is_free(ApplyContext *cx, uint32 remote_id, uint64 reading);
extern void relation_note_free(ApplyContext *cx, uint32 remote_id, uint64 reading);

/* Returns true if a local table of that name exists. Takes no lock. */
extern bool relation_exists(const WireRelation *remote);

/* Passes over rows of a relation from here on, as long as there is no local table. */
extern void relation_pass_over(ApplyContext *cx, uint32 remote_id);
extern bool relation_is_passed_over(ApplyContext *cx, uint32 remote_id);

/*
 * Returns the relation, with its local table open in this transaction. Returns NULL if there is no
 * such table and its rows are to be passed over, because it is excluded here (catalog/exclusion.h)
 * or no member has it. Raises an error if the table is missing otherwise.
 */
extern ApplyRelation *relation_open_remote(ApplyContext *cx, uint32 remote_id);

/*
 * Returns the relation of a local table without a provider, described by its own column names and
 * types.
 */
extern ApplyRelation *relation_open_local(ApplyContext *cx, Oid relid);

/*
 * Returns the table to which a row belongs: rel->target, or the leaf partition for the values in
 * rel->root_slot. For a key search only the key columns need to be set.
 */
extern ApplyTarget *relation_route(ApplyRelation *rel);

/*
 * Does the same, but returns NULL if there is no partition for the values, unless the partition key
 * has expressions.
 */
extern ApplyTarget *relation_route_any(ApplyRelation *rel);

/* Returns the target of a leaf partition. */
extern ApplyTarget *relation_leaf(ApplyRelation *rel, Oid leaf);

/* Raises the error that the keys on both sides differ. */
extern void relation_key_differs(ApplyRelation *rel);

extern void relation_close_all(ApplyContext *cx);	/* call before commit */
extern void relation_reset(ApplyContext *cx);		/* call after an abort */

#endif							/* REPLICATION_PLUGIN_APPLY_RELATION_H */
