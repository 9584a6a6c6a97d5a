/*
 * combine.c
 *		Applies writes to mergeable tables by merging them with the local state.
 *
 * The siblings of the row (the stored ones, or the row itself) are merged with the write
 * (model/sibling.c). The table then gets the row that the siblings show, and the siblings are
 * stored unless the row alone implies them. The write is forwarded in the form in which it arrived,
 * as a logical message with its own context, whatever it met here.
 *
 * A process that changes the state of a row also writes its heap row, if there is one. A heap row
 * that is still current when it is written therefore proves that the state is current as well. If
 * there is no heap row, two transactions may not see each other's state. Each of them checks again
 * after it has written, and if it finds another state, its transaction is applied again.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "executor/executor.h"
#include "utils/rel.h"

#include "apply/combine.h"
#include "apply/context.h"
#include "apply/fetch.h"
#include "apply/park.h"
#include "apply/place.h"
#include "apply/put.h"
#include "apply/row.h"
#include "apply/search.h"
#include "apply/write.h"
#include "base/session.h"
#include "catalog/message_seal.h"
#include "catalog/names.h"
#include "merge/merge_columns.h"

/* The state of applying one write. */
typedef struct Combining
{
	ApplyContext *cx;
	ApplyRelation *ar;
	ApplyTarget *target;
	Datum		key[INDEX_MAX_KEYS];
	bool		forwarded;
	bool		have;			/* target->found has the row */
	bool		parked;			/* the key has, or had, a parked row */
	bool		hidden;			/* the row that the set shows is parked */
	RowState	found;
	SiblingSet *set;			/* before, then after the merge */
	MergedColumns merged;
	bool		shows;			/* the set shows a row, which is in target->newslot */
	Shown		shown;
} Combining;

/* Raises the error after which the transaction is applied again. */
static void
apply_again(Combining *c)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a row of table \"%s\" was written by two transactions at once",
					RelationGetRelationName(c->ar->rel))));
}

/*
 * Fills in the rows of siblings that were created without them: the arriving one, and the one in
 * the table.
 */
static void
add_rows(Combining *c)
{
	for (int i = 0; i < c->set->n; i++)
	{
		Sibling    *s = &c->set->items[i];
		bool		plain = s->plain;

		if (s->deleted || s->row)
			continue;
		*s = row_sibling(c->ar->merge->codec, s->version,
						 version_cmp(s->version, c->cx->version) == 0 ? c->target->newslot
																	  : c->target->found);
		s->plain = plain;
	}
}

/*
 * Copies a row of the table's layout, with its values, into the target's slot, because the source
 * row may be freed.
 */
static void
show_row(ApplyTarget *t, TupleTableSlot *row)
{
	slot_getallattrs(row);
	ExecClearTuple(t->newslot);
	memcpy(t->newslot->tts_values, row->tts_values,
		   row->tts_tupleDescriptor->natts * sizeof(Datum));
	memcpy(t->newslot->tts_isnull, row->tts_isnull, row->tts_tupleDescriptor->natts * sizeof(bool));
	ExecStoreVirtualTuple(t->newslot);
	ExecMaterializeSlot(t->newslot);
}

/* Determines the row that the set shows, and stores it in the target's slot. */
static void
combine_resolve(Combining *c)
{
	TupleTableSlot *result;

	Assert(c->set->n > 0);
	if (c->merged.n == 0 && row_state_is_implied(c->set, c->set->items[0].plain))
	{
		c->shows = true;		/* the arriving row, which is in the slot */
		c->shown = (Shown) {.index = 0};
		return;
	}
	add_rows(c);
	result = MakeSingleTupleTableSlot(RelationGetDescr(c->ar->rel), &TTSOpsVirtual);
	c->shows = resolve_row(c->ar->rel, &c->ar->merge->policy, c->ar->merge->codec, c->set,
						   &c->merged, result, &c->shown);
	if (c->shows)
		show_row(c->target, result);
	ExecDropSingleTupleTableSlot(result);
}

/*
 * Finds a place for the row among the rows with which it conflicts. The local row of the same key
 * does not count as a conflict.
 */
static PlaceResult
combine_take_place(Combining *c)
{
	int			clashes = 0;
	const PlaceFor who = {
		.version = c->set->items[0].version,.own = c->cx->version,
		.arriving = version_cmp(c->set->items[0].version, c->cx->version) == 0,.wait = true,
		.parked = park_note,.clashes = &clashes
	};
	ParkedRow	parked;
	PlaceResult result;

	ExecMaterializeSlot(c->target->newslot);
	result = place_take(c->ar, c->target, c->target->newslot, &who, &parked);
	c->hidden = result == PLACE_TAKEN;
	if (c->hidden)
		(void) parked_store(c->ar->tombstones, c->key, &parked);
	else if (c->parked && result == PLACE_FREE)
		(void) parked_remove(c->ar->tombstones, c->key);
	return result;
}

/* Makes the table show the row. */
static WriteResult
write_heap(Combining *c)
{
	if (c->shows && c->ar->parking && combine_take_place(c) == PLACE_AGAIN)
		return WRITE_AGAIN;
	if (!c->shows && c->parked)
		(void) parked_remove(c->ar->tombstones, c->key);
	if (c->hidden)
		return !c->have || place_hide(c->ar, c->target, &c->target->found->tts_tid) ? WRITE_DONE
																					: WRITE_AGAIN;
	if (c->have && c->shows)
		return write_update(c->ar, c->target, c->target->newslot);
	if (c->have)
		return write_delete(c->ar, c->target, &c->target->found->tts_tid);
	if (c->shows)
		write_insert(c->ar, c->target, c->target->newslot);
	return WRITE_DONE;
}

/*
 * Checks, if there was no row, that no other transaction has written the key unseen or is about to.
 * Such a transaction may already wait for this one. It is therefore not waited for while this
 * transaction holds its row; the next attempt waits for it.
 */
static void
combine_look_again(Combining *c)
{
	bool implied =
		!c->hidden && c->merged.n == 0 && row_state_is_implied(c->set, c->ar->merge->policy.young);

	Assert(!c->have);
	if (!implied && !c->found.stored && row_state_count(c->ar->merge->keys, c->key) != 1)
		apply_again(c);
	if (c->shows && implied)
	{
		if (row_state_count(c->ar->merge->keys, c->key) != 0)
			apply_again(c);
	}
	else if ((!c->shows || c->hidden) && search_key_or_coming(c->target, c->key))
		apply_again(c);
}

/* Returns the column merges of the write, with local column numbers. */
static WireMerge *
local_merges(Combining *c)
{
	WireMerge  *list = palloc(Max(c->cx->write.nmerges, 1) * sizeof(WireMerge));

	for (int i = 0; i < c->cx->write.nmerges; i++)
	{
		list[i] = c->cx->write.merges[i];
		if (list[i].column >= c->ar->remote.natts)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a write of table \"%s\" merges a column that it does not have",
							RelationGetRelationName(c->ar->rel))));
		list[i].column = c->ar->local_att[list[i].column];
	}
	return list;
}

/* Forwards the write in the form in which it arrived; newslot has the arriving row. */
static void
combine_forward(Combining *c, const WireMerge *merges, bool deleted)
{
	WireWrite	   m = {.relid = c->ar->relid,
						.context = c->cx->write.context,
						.deleted = deleted,
						.nmerges = c->cx->write.nmerges,
						.merges = palloc(Max(c->cx->write.nmerges, 1) * sizeof(WireMerge))};
	StringInfoData buf,
				encoded;

	if (c->forwarded)
		return;
	c->forwarded = true;
	for (int i = 0; i < m.nmerges; i++)
	{
		m.merges[i] = merges[i];
		m.merges[i].column = row_codec_place(c->ar->merge->codec, merges[i].column);
	}
	initStringInfo(&buf);
	wire_write_write_head(&buf, &m);
	if (!deleted)
		row_encode(c->ar->merge->codec, c->target->newslot, &buf);
	else
	{
		initStringInfo(&encoded);
		(void) tombstone_key_bytes(c->ar->merge->keys, c->key, &encoded);
		appendBinaryStringInfo(&buf, encoded.data + VARHDRSZ, encoded.len - VARHDRSZ);
	}
	message_emit(&buf);
	c->cx->wrote = true;
}

/* Returns the newest sibling other than the arriving one. */
static const Sibling *
newest_other(Combining *c)
{
	for (int i = 0; i < c->set->n; i++)
	{
		if (version_cmp(c->set->items[i].version, c->cx->version) != 0)
			return &c->set->items[i];
	}
	return NULL;
}

/* Records a conflict with a concurrent write. */
static void
combine_record(Combining *c, bool deleted, bool dropped)
{
	TupleTableSlot *arriving =
		MakeSingleTupleTableSlot(RelationGetDescr(c->ar->rel), &TTSOpsVirtual);
	const Sibling *other = newest_other(c);
	Conflict	   conflict = {.type = deleted	 ? CONFLICT_DELETE_ORIGIN_DIFFERS
									   : c->have ? CONFLICT_UPDATE_ORIGIN_DIFFERS
												 : CONFLICT_UPDATE_DELETED,
							   .resolution = dropped ? RESOLUTION_KEEP_LOCAL : RESOLUTION_MERGED,
							   .rel = c->ar->rel,
							   .local_row = c->have ? c->target->found : NULL,
							   .local_version = other ? other->version : VERSION_OLDEST,
							   .remote_version = c->cx->version,
							   .concurrent = true,
							   .policy = policy_name(c->ar->merge->policy.policy),
							   .detail = c->shown.failure};

	row_key_to_root_slot(c->ar, c->key);
	conflict.key_row = c->ar->root_slot;
	for (int i = 0; i < c->set->n && !deleted; i++)
	{
		if (version_cmp(c->set->items[i].version, c->cx->version) != 0)
			continue;
		row_decode(c->ar->merge->codec, &c->set->items[i], arriving);
		conflict.remote_row = arriving;
	}
	conflict_record(&conflict);
	ExecDropSingleTupleTableSlot(arriving);
}

/* Finds the row of the key, shown or parked. */
static void
combine_find_row(Combining *c)
{
	ParkedRow	parked;

	c->hidden = c->parked = false;
	c->have = search_key_surely(c->target, c->key);
	if (c->have)
		ExecMaterializeSlot(c->target->found);
	c->parked = c->ar->parking && parked_find(c->ar->tombstones, c->key, &parked);
}

/*
 * Stores the state, unless the row implies it. Returns false if another transaction stored one
 * first.
 */
static bool
combine_store(Combining *c, Version shown)
{
	if (c->hidden)
		return merge_table_store_parked(c->ar->merge, c->key, &c->found, c->set, &c->merged, shown);
	return merge_table_store(c->ar->merge, c->key, &c->found, c->set, &c->merged);
}

/* Makes one attempt to merge the write. */
static WriteResult
try_combine(Combining *c, bool deleted)
{
	MergeTable *m = c->ar->merge;
	ApplyTarget *t = c->target;
	const WireWrite *write = &c->cx->write;
	WireMerge  *merges = local_merges(c);
	ShownRow	shown = {0};
	Version		shown_now;
	bool		changed;

	combine_find_row(c);
	c->set = merge_table_siblings(m, c->ar->rel, c->key, c->have ? t->found : NULL, c->cx->version,
								  &c->found, false);
	if (!deleted)
	{
		row_fill_slot(c->ar, t, c->have ? t->found : NULL, t->newslot);
		ExecMaterializeSlot(t->newslot);
	}
	combine_forward(c, merges, deleted);
	shown.row = c->have ? t->found : NULL;
	shown.version = c->set->n > 0 ? c->set->items[0].version : VERSION_OLDEST;
	merge_columns_apply(m, &c->found, &shown, deleted ? NULL : t->newslot, merges, write->nmerges,
						c->cx->version, write->context.plain, write->context.seen, &c->merged);
	changed = sibling_merge(c->set, &write->context,
							(Sibling) {.version = c->cx->version,.deleted = deleted});
	if (!changed)
		combine_record(c, deleted, true);
	if (!changed && c->merged.n == 0)
		return WRITE_DONE;
	if (c->ar->parking || !row_state_is_implied(c->set, m->policy.young))
		add_rows(c);
	combine_resolve(c);
	shown_now = c->set->items[0].version;
	if (!c->shows && (c->have || !deleted))
		merge_columns_keep(m, shown.version, &c->merged);
	if (write_heap(c) == WRITE_AGAIN)
		return WRITE_AGAIN;
	if (!combine_store(c, shown_now))
	{
		if (c->have || c->shows)
			apply_again(c);
		return WRITE_AGAIN;
	}
	if (!c->have)
		combine_look_again(c);
	if (c->set->n > 1 && changed)
		combine_record(c, deleted, false);
	return WRITE_DONE;
}

/* Merges the current write. The key is set, and the row is in the values of the relation. */
static void
combine_row(Combining *c, bool deleted)
{
	Assert(session_in_row() && c->ar->merge && !c->ar->partitioned && !put_is_gathering(c->cx));
	c->target = c->ar->target;
	while (try_combine(c, deleted) == WRITE_AGAIN)
		;
}

void
combine_write(ApplyRelation *ar)
{
	Combining	c = {.cx = ar->cx,.ar = ar};

	if (ar->cx->write.deleted)
		row_read_key(ar, &ar->cx->newtup, c.key);
	else
	{
		(void) row_read(ar, &ar->cx->newtup);
		row_key_of_values(ar, c.key);
	}
	combine_row(&c, ar->cx->write.deleted);
}

void
combine_plain_put(ApplyRelation *ar)
{
	Combining	c = {.cx = ar->cx,.ar = ar};
	Missing		missing = row_read(ar, &ar->cx->newtup);

	row_key_of_values(ar, c.key);
	if (missing != MISSING_NONE && !fetch_missing(ar, c.key))
		return;					/* the provider has a newer state, which will arrive */
	ar->cx->write = (WireWrite) {.context.plain = true};
	combine_row(&c, false);
}

void
combine_plain_delete(ApplyRelation *ar)
{
	Combining	c = {.cx = ar->cx,.ar = ar};

	row_read_key(ar, &ar->cx->oldtup, c.key);
	ar->cx->write = (WireWrite) {.context.plain = true,.deleted = true};
	combine_row(&c, true);
}
