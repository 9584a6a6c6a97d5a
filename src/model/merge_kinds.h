/*
 * merge_kinds.h
 *		The kinds of merged columns, for merge.c, and what they share.
 */
#ifndef REPLICATION_PLUGIN_MERGE_KINDS_H
#define REPLICATION_PLUGIN_MERGE_KINDS_H

#include "model/merge.h"
#include "model/merge_bytes.h"

/* The arguments of the functions of a kind, filled in by merge.c. */
typedef struct MergeCall
{
	const MergeColumn *column;
	bytea	   *state;			/* detoasted, or NULL */
	const MergeShown *shown;
	Datum		value;			/* the value written; unused for ops */
	bool		isnull;
	bool		is_insert;
	NodeId		me;
	Version		version;		/* VERSION_SELF for a local write */
	const Frontier *seen;
} MergeCall;

/*
 * Returns the version of a heap row without a state: its own, or the oldest version if no write can
 * be concurrent with it.
 */
static inline Version
merge_implicit_version(const MergeShown *shown)
{
	return shown->present && !shown->stable ? shown->version : VERSION_OLDEST;
}

/* Begins to read the state, which must exist (merge_read.c). */
extern void merge_read_state(MergeReader *r, const MergeCall *call);

/* ---------- items as text (merge_value.c) ---------- */

/*
 * Pins the settings on which the text form depends, until merge_unsettle() or the end of the
 * transaction. Returns a nest level.
 */
extern int	merge_settle(const MergeColumn *c);
extern void merge_unsettle(int nest);
extern char *merge_item_to_text(const MergeColumn *c, Datum value);
extern Datum merge_item_from_text(const MergeColumn *c, const char *text);

/* ---------- the kinds ---------- */

/* merge_column.c */
extern void merge_column_local(const MergeCall *call, MergeResult *result);
extern void merge_column_apply(const MergeCall *call, MergeReader *op, MergeResult *result);
extern void merge_column_plain(const MergeCall *call, MergeResult *result);
extern bytea *merge_column_keep(const MergeCall *call);

/* merge_counter.c */
extern void merge_counter_local(const MergeCall *call, MergeResult *result);
extern void merge_counter_apply(const MergeCall *call, MergeReader *op, MergeResult *result);
extern void merge_counter_plain(const MergeCall *call, MergeResult *result);
extern bytea *merge_counter_keep(const MergeCall *call);
extern bytea *merge_counter_trim(const MergeCall *call);	/* seen: the stable vector */

/* merge_items.c: sets and maps */
extern void merge_items_local(const MergeCall *call, MergeResult *result);
extern void merge_items_apply(const MergeCall *call, MergeReader *op, MergeResult *result);
extern void merge_items_plain(const MergeCall *call, MergeResult *result);
extern bytea *merge_items_keep(const MergeCall *call);

#endif							/* REPLICATION_PLUGIN_MERGE_KINDS_H */
