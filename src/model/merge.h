/*
 * merge.h
 *		Merged columns: concurrent writes of a column are united, and none is discarded.
 *
 * All functions work on pure values. What a write has changed in a column is an "op": bytes that
 * are sent with the row. What a node knows of a column beyond its value is a "state": bytes that
 * stay on the node. Nodes that have applied the same ops, in any order that respects causality,
 * show the same value, byte for byte.
 *
 * A row without a state is described by its heap row alone: all its contents have one version, that
 * of the heap row. Therefore the caller must observe these rules:
 *
 * - Every write to a row of a mergeable table calls merge_local() or merge_apply() for every merged
 *   column, even for columns that the write leaves alone. The heap row gets a newer version by the
 *   write, and only a state remembers the older one.
 * - When the row is deleted (locally or by an arriving write, even within a transaction), or stays
 *   deleted after an older put has been applied, the result of merge_keep() for every column is
 *   stored beside the tombstone. A newer put is applied to these states. It restores the whole row,
 *   with the merged values.
 * - What merge_local() stored is passed through merge_state_resolve() after its transaction has
 *   committed, before a change of another transaction is applied.
 * - The states of a live row may be dropped when merge_forgettable() returns true for all columns
 *   and the heap row's version is stable; those of a deleted row when merge_forgettable() returns
 *   true for all columns and the newest delete is stable. Stable means that every node has applied
 *   it, and that all writes that a node made before it applied it have arrived here (stable.h).
 *
 * An op has seen the writes that its vector covers, the oldest version, and the earlier writes of
 * its own transaction. The vector is sent with the op; merge_local() and every merge_apply() get
 * the same one. It may cover less than the writer has seen, because the op lists the versions in
 * the state that it does not cover. It must not cover more, and must cover all versions by which
 * its node has ever dropped states. The ops of one transaction have one version, and are applied in
 * their order. Applying an op twice in succession changes nothing.
 */
#ifndef REPLICATION_PLUGIN_MERGE_H
#define REPLICATION_PLUGIN_MERGE_H

#include "fmgr.h"

#include "model/frontier.h"
#include "model/version.h"

typedef enum MergeKind
{
	MERGE_LAST_WRITE_WINS,		/* the newest write of the column counts */
	MERGE_COUNTER,				/* differences add up */
	MERGE_SET,					/* an array as a set: an add wins over a concurrent remove */
	MERGE_MAP					/* jsonb, key by key */
} MergeKind;

/*
 * How a column merges; looked up once per relation. Lives in the memory context in which
 * merge_column_init() is called.
 */
typedef struct MergeColumn
{
	MergeKind	kind;
	Oid			typid;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	/* of what is written one by one: the elements of a set, else the value */
	Oid			item_type;
	int16		item_len;
	bool		item_byval;
	char		item_align;
	Oid			item_ioparam;
	FmgrInfo	item_in;
	FmgrInfo	item_out;
	int32		item_typmod;
	bool		item_depends;	/* the text form depends on settings ... */
	bool		item_names_objects; /* ... and on search_path */
	FmgrInfo	item_equal;		/* sets only, as the next two */
	FmgrInfo	item_hash;		/* fn_oid invalid if the type has none */
	FmgrInfo	item_cmp;		/* only without a hash function; fn_oid invalid: none */
	/* counters: the type's limits as numeric, or NULL */
	struct NumericData *least;
	struct NumericData *most;
} MergeColumn;

/* The row as the heap shows it, before the write or the op. */
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
	bytea	   *state;			/* to store */
	Datum		value;			/* to show, if the row is live */
	bool		isnull;
	bytea	   *op;				/* of merge_local(), to send; NULL if the column did not change */
	bool		rewrite;		/* of merge_local(): value differs from what was written */
	bool		clamped;		/* the counter exceeds its type and shows the limit */
} MergeResult;

/*
 * Convert between a kind and its name: "last_write_wins", "counter", "set", "map".
 * merge_kind_parse() returns false for any other text.
 */
extern const char *merge_kind_name(MergeKind kind);
extern bool merge_kind_parse(const char *text, MergeKind *kind);

/* Returns why columns of a type cannot merge in this way, palloc'd; NULL if they can. */
extern char *merge_check_type(MergeKind kind, Oid typid);

/*
 * Returns why a value cannot be stored in a merged column, palloc'd; NULL if it can. All other
 * functions require values for which it returns NULL.
 */
extern char *merge_check_value(const MergeColumn *c, Datum value, bool isnull);

extern void merge_column_init(MergeColumn *c, MergeKind kind, Oid typid, int32 typmod,
							  Oid collation);

/*
 * Performs a write of this node, in which value replaces the value shown. An insert assigns, even
 * if the row existed before and was deleted; an update sends what it changes. state may be NULL.
 * seen: the seen vector of this node.
 */
extern void merge_local(const MergeColumn *c, bytea *state, const MergeShown *shown, Datum value,
						bool isnull, bool is_insert, NodeId me, const Frontier *seen,
						MergeResult *result);

/*
 * Applies an op of another node. An op of no bytes stands for a column that the write left alone.
 * value: the column in the row that came with the op; used for last_write_wins only, and not if the
 * op has no bytes.
 */
extern void merge_apply(const MergeColumn *c, bytea *state, const MergeShown *shown, const char *op,
						int oplen, Datum value, bool isnull, Version version, const Frontier *seen,
						MergeResult *result);

/*
 * Applies a write without an op, from before the table was mergeable. Such writes have seen no op,
 * and among them the newest wins.
 */
extern void merge_apply_plain(const MergeColumn *c, bytea *state, const MergeShown *shown,
							  Datum value, bool isnull, Version version, MergeResult *result);

/*
 * Returns a state, palloc'd, that has everything that the heap row has. Called when the row is
 * deleted.
 */
extern bytea *merge_keep(const MergeColumn *c, bytea *state, const MergeShown *shown);

/* Returns a copy of a state in which VERSION_SELF is replaced by the version of the transaction. */
extern bytea *merge_state_resolve(bytea *state, Version version);

/*
 * Returns true if a vector of timestamps covers all that a state knows, and a heap row can stand
 * for it.
 */
extern bool merge_forgettable(bytea *state, bool live, const Frontier *through);

/*
 * Returns a state without the parts that no node will need any more. through: a vector of stable
 * timestamps. Must be called before a write, occasionally, for counters whose rows are repeatedly
 * deleted and inserted: otherwise their states only grow.
 */
extern bytea *merge_state_trim(const MergeColumn *c, bytea *state, const Frontier *through);

#endif							/* REPLICATION_PLUGIN_MERGE_H */
