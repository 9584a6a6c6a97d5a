/*
 * merge_kinds.h
 *		The kinds of merged columns, for merge.c; and what they share.
 */
#ifndef REPLICATION_PLUGIN_MERGE_KINDS_H
#define REPLICATION_PLUGIN_MERGE_KINDS_H

#include "model/merge.h"
#include "model/merge_bytes.h"

/* What a function of a kind is called with: merge.c fills it. */
typedef struct MergeCall
{
	const MergeColumn *column;
	bytea	   *state;			/* detoasted, or NULL */
	const MergeShown *shown;
	Datum		value;			/* what was written: not for ops */
	bool		isnull;
	bool		is_insert;
	NodeId		me;
	Version		version;		/* VERSION_SELF for a local write */
	const Frontier *seen;
} MergeCall;

/*
 * What a heap row without a state stands for: its version, or the oldest if no write can be
 * concurrent to it.
 */
static inline Version
merge_implicit_version(const MergeShown *shown)
{
	return shown->present && !shown->stable ? shown->version : VERSION_OLDEST;
}

/* Starts to read the state, of which there is one (merge_read.c). */
extern void merge_read_state(MergeReader *r, const MergeCall *call);

/* ---------- items as text (merge_value.c) ---------- */

/* Sets what the text may depend on, until merge_unsettle() or the end of the transaction. */
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
extern bytea *merge_counter_trim(const MergeCall *call);	/* seen: what is stable */

/* merge_items.c: sets and maps */
extern void merge_items_local(const MergeCall *call, MergeResult *result);
extern void merge_items_apply(const MergeCall *call, MergeReader *op, MergeResult *result);
extern void merge_items_plain(const MergeCall *call, MergeResult *result);
extern bytea *merge_items_keep(const MergeCall *call);

#endif							/* REPLICATION_PLUGIN_MERGE_KINDS_H */
