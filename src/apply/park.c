/*
 * park.c
 *		Applies puts and deletes of tables whose rows can conflict by contested keys.
 *
 * The state of such a table is the newest put of each key, shown or parked; place.c decides which
 * rows are shown. A put is compared with the row of its key, wherever that row is. A parked row is
 * not written to the table, so decoding sees it as a logical message, and sends that on.
 *
 * Within a transaction, rows may conflict for a while (a value that passes from one row to
 * another). Conflicts are therefore recorded at the end of the transaction, for the rows that are
 * parked then.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "apply/context.h"
#include "apply/deleted.h"
#include "apply/fetch.h"
#include "apply/park.h"
#include "apply/place.h"
#include "apply/row.h"
#include "apply/search.h"
#include "apply/write.h"
#include "base/compat.h"
#include "catalog/message_seal.h"
#include "catalog/names.h"

#define MOST_PENDING	1000	/* limit of parked rows that one transaction records */

/* A row that the transaction has parked, and the row in its way; in TopTransactionContext. */
typedef struct Pending
{
	ApplyRelation *ar;
	ConflictKind type;
	Version		version;
	Version		winner_version;
	TupleTableSlot *row;		/* both in the root's layout */
	TupleTableSlot *winner;
	Datum	   *key;			/* of the parked row; the values are those of row */
	Oid			index_id;
} Pending;

/* ---------- conflicts ---------- */

/* Returns a copy of a target's row in the root's layout. */
static TupleTableSlot *
copy_for_root(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row)
{
	/* Use a descriptor of its own, because an invalidation may free that of root_slot. */
	TupleTableSlot *copy =
		MakeSingleTupleTableSlot(CreateTupleDescCopy(ar->root_slot->tts_tupleDescriptor),
								 &TTSOpsVirtual);

	if (t->to_root)
		execute_attr_map_slot(t->to_root->attrMap, row, copy);
	else
		ExecCopySlot(copy, row);
	ExecMaterializeSlot(copy);
	return copy;
}

void
park_note(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, const ParkedRow *parked,
			TupleTableSlot *winner, Version winner_version, const PlaceFor *who)
{
	MemoryContext old;
	Pending    *p;

	Assert(ar->cx->active && ar->cx->action);
	if (ar->cx->mode.source_decides || list_length(ar->cx->parked) >= MOST_PENDING)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	p = palloc(sizeof(Pending));
	*p = (Pending){.ar = ar,
				   .version = parked->version,
				   .winner_version = winner_version,
				   .index_id = parked->index_id,
				   .type = who->clashes && *who->clashes > 1	   ? CONFLICT_MULTIPLE_UNIQUE
						   : strcmp(ar->cx->action, "UPDATE") == 0 ? CONFLICT_UPDATE_EXISTS
																   : CONFLICT_INSERT_EXISTS,
				   .row = copy_for_root(ar, t, row),
				   .winner = copy_for_root(ar, t, winner),
				   .key = palloc(Max(ar->nkeys, 1) * sizeof(Datum))};
	for (int k = 0; k < ar->nkeys; k++)
		p->key[k] = p->row->tts_values[ar->key_atts[k] - 1];
	ar->cx->parked = lappend(ar->cx->parked, p);
	MemoryContextSwitchTo(old);
}

/* Records one conflict, if the row is still parked in the same version. */
static void
park_note_row(const ApplyContext *cx, const Pending *p)
{
	bool		arrived = version_cmp(p->version, cx->version) == 0;
	char	   *constraint = get_rel_name(p->index_id);
	ParkedRow	now;
	OwnerContext saved;
	bool		parked;
	Conflict	 conflict = {.type = p->type,
							 .resolution = RESOLUTION_PARKED,
							 .rel = p->ar->rel,
							 .local_row = arrived ? p->winner : p->row,
							 .local_version = arrived ? p->winner_version : p->version,
							 .remote_row = arrived ? p->row : p->winner,
							 .remote_version = cx->version,
							 .key_row = p->row,
							 .policy = policy_name(p->ar->merge ? p->ar->merge->policy.policy
																: POLICY_LAST_WRITE_WINS)};

	Assert(p->ar->cx == cx && p->ar->rel);
	saved = become_owner(p->ar);
	parked =
		parked_find(p->ar->tombstones, p->key, &now) && version_cmp(now.version, p->version) == 0;
	as_owner_end(saved);
	if (!parked)
		return;
	conflict.concurrent = !apply_was_seen(cx, conflict.local_version);
	conflict.detail = psprintf("the %s row is parked: the other one is in its way by \"%s\"", arrived ? "arriving" : "local",
							   constraint ? constraint : "an index that is gone");
	conflict_record(&conflict);
}

void
park_record(ApplyContext *cx)
{
	ListCell   *lc;

	foreach(lc, cx->parked)
	{
		Pending    *p = lfirst(lc);

		park_note_row(cx, p);
		ExecDropSingleTupleTableSlot(p->row);
		ExecDropSingleTupleTableSlot(p->winner);
	}
	cx->parked = NIL;
}

void
park_reset(ApplyContext *cx)
{
	cx->parked = NIL;			/* the abort has freed the slots and the memory */
}

/* ---------- puts ---------- */

/* What is known of the key of a put. */
typedef struct Put
{
	ApplyRelation *ar;
	ApplyTarget *target;		/* the target that has, or would have, the key */
	Datum		key[INDEX_MAX_KEYS];
	bool		shown;			/* the shown row is in target->found */
	bool		parked;
	ParkedRow	old;			/* the parked row */
	Version		local;
	TupleTableSlot *base;		/* the local row, in the target's layout; NULL: none */
} Put;

/* Finds the local row of the key. */
static void
park_find(Put *p)
{
	ApplyRelation *ar = p->ar;
	TupleTableSlot *row;

	if (ar->partitioned)
		row_key_to_root_slot(ar, p->key);
	p->target = relation_route(ar);
	p->shown = search_key_surely(p->target, p->key);
	p->parked = parked_find(ar->tombstones, p->key, &p->old);
	p->base = NULL;
	if (p->shown)
	{
		ExecMaterializeSlot(p->target->found);
		p->base = p->target->found;
		p->local = place_version(ar, p->target, p->base, ar->cx->version);
		return;
	}
	if (!p->parked)
		return;
	p->local = p->old.version;
	row = MakeSingleTupleTableSlot(ar->root_slot->tts_tupleDescriptor, &TTSOpsVirtual);
	row_decode(ar->codec, &p->old.row, row);
	p->base = p->target->found;
	if (p->target->from_root)
		execute_attr_map_slot(p->target->from_root->attrMap, row, p->base);
	else
		ExecCopySlot(p->base, row);
	ExecMaterializeSlot(p->base);
	ExecDropSingleTupleTableSlot(row);
}

/* Returns true if the put is to be written; otherwise the local row or tombstone is newer. */
static bool
is_newest(Put *p, ConflictKind exists, ConflictKind absent)
{
	ApplyRelation *ar = p->ar;

	row_to_root_slot(ar);
	if (p->base && !apply_wins(ar->cx, p->local))
	{
		apply_conflict(ar, exists, RESOLUTION_KEEP_LOCAL, p->base, p->local, ar->root_slot, NULL);
		return false;
	}
	return p->shown || deleted_allows_put(ar, p->key, ar->root_slot,
										  p->parked ? CONFLICT_INSERT_EXISTS : absent);
}

/*
 * Makes the row that is to be written. Returns the target to which it belongs; the row is in the
 * newslot of that target.
 */
static ApplyTarget *
park_make_row(Put *p)
{
	ApplyRelation *ar = p->ar;
	ApplyTarget *to = p->target;

	row_fill_slot(ar, p->target, p->base, p->target->newslot);
	if (ar->partitioned)
	{
		row_to_root_slot(ar);
		to = relation_route(ar);
	}
	if (to != p->target && to->from_root)
		execute_attr_map_slot(to->from_root->attrMap, ar->root_slot, to->newslot);
	else if (to != p->target)
		ExecCopySlot(to->newslot, ar->root_slot);
	ExecMaterializeSlot(to->newslot);
	return to;
}

/* Forwards a row that the table does not show. */
static void
park_forward(ApplyRelation *ar, ApplyTarget *t)
{
	WireWrite	m = {.relid = ar->relid,.context.plain = true};
	TupleTableSlot *row = copy_for_root(ar, t, t->newslot);
	StringInfoData buf;

	initStringInfo(&buf);
	wire_write_write_head(&buf, &m);
	row_encode(ar->codec, row, &buf);
	message_emit(&buf);
	ar->cx->wrote = true;
	ExecDropSingleTupleTableSlot(row);
}

/* Shows the row. */
static WriteResult
park_show(Put *p, ApplyTarget *to)
{
	const ApplyContext *cx = p->ar->cx;
	Version		deleted;

	if (p->shown && to == p->target)
	{
		if (write_update(p->ar, to, to->newslot) == WRITE_AGAIN)
			return WRITE_AGAIN;
	}
	else if (p->shown && write_delete(p->ar, p->target, &p->target->found->tts_tid) == WRITE_AGAIN)
		return WRITE_AGAIN;
	else
		write_insert(p->ar, to, to->newslot);
	if (p->parked)
		(void) parked_remove(p->ar->tombstones, p->key);

	/* another transaction may have put and deleted the key here since the search */
	if (!p->shown && tombstone_find(p->ar->tombstones, p->key, cx->version, &deleted) &&
		!apply_wins(cx, deleted))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a row of table \"%s\" was deleted while it came", RelationGetRelationName(p->ar->rel))));
	return WRITE_DONE;
}

/* Parks the arriving row, and hides the row of its key that was shown so far. */
static WriteResult
park_hide(Put *p, ApplyTarget *to, const ParkedRow *parked)
{
	Assert(parked->blocked_by);
	if (p->shown && !place_hide(p->ar, p->target, &p->target->found->tts_tid))
		return WRITE_AGAIN;
	(void) parked_store(p->ar->tombstones, p->key, parked);
	park_forward(p->ar, to);
	return WRITE_DONE;
}

/* Makes one attempt to put the row. */
static WriteResult
try_put(Put *p, ConflictKind exists, ConflictKind absent, Missing missing)
{
	int			clashes = 0;
	const Version own = p->ar->cx->version;
	const PlaceFor	who = {.version = own,
						   .own = own,
						   .arriving = true,
						   .wait = true,
						   .parked = park_note,
						   .clashes = &clashes};
	ApplyTarget *to;
	ParkedRow	parked;
	PlaceResult place;
	WriteResult result;
	TupleTableSlot *before = NULL;
	bool		seen;

	park_find(p);
	if (p->base)
		apply_refuse_twin(p->ar, p->local);
	if (!is_newest(p, exists, absent))
		return WRITE_DONE;
	seen = !p->base || apply_was_seen(p->ar->cx, p->local);
	if (fetch_needed(p->ar, missing, p->base && seen) && !fetch_missing(p->ar, p->key))
		return WRITE_DONE;		/* the provider has a newer state, which will arrive */
	if (!seen)
		before = copy_for_root(p->ar, p->target, p->base);
	to = park_make_row(p);
	/* an insert that met a row of its own key */
	clashes = !seen && exists == CONFLICT_INSERT_EXISTS ? 1 : 0;
	place = place_take(p->ar, to, to->newslot, &who, &parked);
	if (place == PLACE_AGAIN)
		return WRITE_AGAIN;
	result = place == PLACE_FREE ? park_show(p, to) : park_hide(p, to, &parked);
	if (result == WRITE_DONE && !seen)
	{
		row_to_root_slot(p->ar);
		apply_conflict(p->ar,
					   clashes > 1 && exists == CONFLICT_INSERT_EXISTS ? CONFLICT_MULTIPLE_UNIQUE
																	   : exists,
					   RESOLUTION_APPLY_REMOTE, before, p->local, p->ar->root_slot, NULL);
	}
	if (before)
		ExecDropSingleTupleTableSlot(before);
	return result;
}

void
park_put(ApplyRelation *ar, ConflictKind exists, ConflictKind absent, Missing missing)
{
	Put			p = {.ar = ar};

	Assert(ar->parking && !ar->merge);
	row_key_of_values(ar, p.key);
	while (try_put(&p, exists, absent, missing) == WRITE_AGAIN)
		;
}

/* ---------- deletes ---------- */

bool
park_remove(ApplyRelation *ar, const Datum *key)
{
	ParkedRow	old;
	TupleTableSlot *row;

	Assert(ar->parking && !ar->merge);
	if (!parked_find(ar->tombstones, key, &old))
		return false;
	row = MakeSingleTupleTableSlot(ar->root_slot->tts_tupleDescriptor, &TTSOpsVirtual);
	row_decode(ar->codec, &old.row, row);
	row_key_to_root_slot(ar, key);
	if (!apply_wins(ar->cx, old.version))
		apply_conflict(ar, CONFLICT_DELETE_ORIGIN_DIFFERS, RESOLUTION_KEEP_LOCAL, row, old.version,
					   NULL, ar->root_slot);
	else
	{
		(void) parked_remove(ar->tombstones, key);
		tombstone_write(ar->tombstones, key, true);
		ar->cx->wrote = true;
		if (!apply_was_seen(ar->cx, old.version))
			apply_conflict(ar, CONFLICT_DELETE_ORIGIN_DIFFERS, RESOLUTION_APPLY_REMOTE, row,
						   old.version, NULL, ar->root_slot);
	}
	ExecDropSingleTupleTableSlot(row);
	return true;
}
