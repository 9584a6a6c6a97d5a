/*
 * merge.h
 *		Columns that merge: concurrent writes to one row are put together, none is thrown away.
 *
 * Pure values: what a write changed is an "op" (bytes that travel with the row), what a node knows
 * of a column beyond its value is a "state" (bytes that stay here). Nodes that have applied the
 * same ops, in any order that keeps cause before effect, show the same value, byte for byte.
 *
 * A row without a state is described by its heap row alone: all in it has one version, that of the
 * heap row. So the caller keeps to this:
 *	- Every write to a row of a mergeable table goes through merge_local() or merge_apply() for
 *	every merged column, also
 *	for columns that it left alone: the heap row gets a newer version then, and only a state
 *	remembers the older one.
 *	- When the row goes (a delete, local or applied, also in the middle of a transaction), or stays
 *	gone after an older put has
 *	been applied, merge_keep() of every column is kept beside the tombstone. A newer put is applied
 *	to that, brings
 *	  the row back whole, and shows the merged values.
 *	- What merge_local() stored is passed through merge_state_resolve() once its transaction has
 *	committed, before any
 *	  other transaction's change goes in.
 *	- The states of a live row may be dropped when merge_forgettable() says so of all its columns
 *	and the heap row's version
 *	is stable; those of a dead row when merge_forgettable() says so of all and the newest delete is
 *	stable. Stable: every
 *	  node has seen it, and what each wrote before it saw it has come here (stable.h).
 *
 * An op has seen what its vector covers, the oldest version, and what was written earlier in its
 * own transaction. The vector comes with the op, the same to merge_local() and to every
 * merge_apply(). It may be less than the writer has seen, as what the state has beyond it is listed
 * in the op; but never more, and it covers all that its node has ever dropped states by. Ops of one
 * transaction have one version and are applied in their order. Applying an op twice in a row
 * changes nothing.
 */
#ifndef REPLICATION_PLUGIN_MERGE_H
#define REPLICATION_PLUGIN_MERGE_H

#include "fmgr.h"

#include "model/frontier.h"
#include "model/version.h"

typedef enum MergeKind
{
	MERGE_LAST_WRITE_WINS,		/* the newest write of this column */
	MERGE_COUNTER,				/* differences add up */
	MERGE_SET,					/* an array as a set: an add wins over a concurrent removal */
	MERGE_MAP					/* jsonb, key by key */
} MergeKind;

/*
 * How a column merges, looked up once per relation. Lives in the memory context of
 * merge_column_init().
 */
typedef struct MergeColumn
{
	MergeKind	kind;
	Oid			typid;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	/* what is written one by one: the elements of a set, else the value */
	Oid			item_type;
	int16		item_len;
	bool		item_byval;
	char		item_align;
	Oid			item_ioparam;
	FmgrInfo	item_in;
	FmgrInfo	item_out;
	int32		item_typmod;
	bool		item_depends;	/* its text depends on settings ... */
	bool		item_names_objects; /* ... and on search_path */
	FmgrInfo	item_equal;		/* sets only */
	FmgrInfo	item_hash;		/* fn_oid invalid if it has none */
	FmgrInfo	item_cmp;		/* the same; of those that have no hash */
	/* counters: the type's limits as numeric, or NULL */
	struct NumericData *least;
	struct NumericData *most;
} MergeColumn;

/* The row as the heap shows it now: before the write, or before the op. */
typedef struct MergeShown
{
	bool		present;		/* there is a live row */
	Datum		value;			/* of this column */
	bool		isnull;
	Version		version;		/* of the heap row */
	bool		stable;			/* that version is stable */
} MergeShown;

typedef struct MergeResult
{
	bytea	   *state;			/* to be stored */
	Datum		value;			/* to be shown, if the row is live */
	bool		isnull;
	bytea	   *op;				/* of merge_local: to be sent, NULL if the column did not change */
	bool		rewrite;		/* of merge_local: value is not what was written */
	bool		clamped;		/* a counter is beyond its type and shows the limit */
} MergeResult;

/* "last_write_wins", "counter", "set", "map"; returns false for another text. */
extern const char *merge_kind_name(MergeKind kind);
extern bool merge_kind_parse(const char *text, MergeKind *kind);

/* Why columns of a type cannot merge like that, or NULL if they can. */
extern char *merge_check_type(MergeKind kind, Oid typid);

/*
 * Why a value cannot be stored in a merged column, or NULL if it can. The other functions expect
 * values that can.
 */
extern char *merge_check_value(const MergeColumn *c, Datum value, bool isnull);

extern void merge_column_init(MergeColumn *c, MergeKind kind, Oid typid, int32 typmod, Oid collation);

/*
 * A write of this node: value replaces what is shown. An insert assigns, also where the row was
 * before and went; an update says what it changed. state may be NULL; seen is what this node has
 * seen.
 */
extern void merge_local(const MergeColumn *c, bytea *state, const MergeShown *shown, Datum value, bool isnull,
						bool is_insert, NodeId me, const Frontier *seen, MergeResult *result);

/*
 * An op of another node. An op of no bytes stands for a column that the write left alone. value:
 * the column in the row that came with it; looked at for last_write_wins only, and not if the op
 * has no bytes.
 */
extern void merge_apply(const MergeColumn *c, bytea *state, const MergeShown *shown, const char *op, int oplen,
						Datum value, bool isnull, Version version, const Frontier *seen, MergeResult *result);

/*
 * A write without an op, from before the table was mergeable: such writes have seen no op, and
 * among themselves the newest wins.
 */
extern void merge_apply_plain(const MergeColumn *c, bytea *state, const MergeShown *shown, Datum value, bool isnull,
							  Version version, MergeResult *result);

/* The row goes: returns a state that holds all that the heap row held. */
extern bytea *merge_keep(const MergeColumn *c, bytea *state, const MergeShown *shown);

/* The state with the version of the transaction that stored it. */
extern bytea *merge_state_resolve(bytea *state, Version version);

/*
 * True if all that a state knows is covered by a vector of timestamps, and a heap row can stand for
 * it.
 */
extern bool merge_forgettable(bytea *state, bool live, const Frontier *through);

/*
 * The state without what nobody will need any more, given a vector of timestamps that are stable.
 * To be called before a write, now and then, of counters whose rows are deleted and inserted over
 * and over; else their states only grow.
 */
extern bytea *merge_state_trim(const MergeColumn *c, bytea *state, const Frontier *through);

#endif							/* REPLICATION_PLUGIN_MERGE_H */
