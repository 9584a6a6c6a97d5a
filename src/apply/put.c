/*
 * put.c
 *		Applies puts ("the row is this, as of this version"): INSERT and UPDATE.
 *
 * The state of a row is the maximum, by version, over all puts and deletes of its key that have
 * arrived. A put is therefore written if it is newer than the local row, or, if there is no local
 * row, newer than the key's tombstone. An update of a row that does not exist here creates it. Only
 * the versions decide which of two writes wins.
 *
 * A put of the same origin as the local row comes later in the order of that origin. It is written
 * without comparing timestamps, and is not a conflict.
 *
 * Inserts are gathered and written in batches, without searching for the key first. If the key
 * exists, the unique violation ends the transaction, and it is applied again in careful mode, which
 * searches. Whether a newer tombstone forbids an insert is checked after the row is in the index:
 * from then on no delete of the key can commit unseen.
 *
 * Unchanged TOAST values are not sent. If the local row is part of the writer's past, it is the row
 * that the writer updated (whatever the writer had seen is here, and nothing newer that it had not
 * seen), and the values are taken from it. Otherwise they are fetched from the provider. If the
 * provider has overwritten them, the put is passed over, because a newer state will arrive
 * (catalog/awaited.h). A row never mixes two writes.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "apply/context.h"
#include "apply/deleted.h"
#include "apply/fetch.h"
#include "apply/park.h"
#include "apply/place.h"
#include "apply/put.h"
#include "apply/row.h"
#include "apply/search.h"
#include "apply/search_image.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/pulse.h"
#include "base/session.h"
#include "shared/newest_delete.h"

#define GATHER_ROWS		1000
#define GATHER_BYTES	(256 * 1024)

/* Inserts that are to be written together; all are of one table. */
typedef struct Gathered
{
	ApplyRelation *rel;			/* NULL: none */
	ApplyTarget *target;
	int			n;
	/* the inserts are being written: an error may concern any of them, not the current message */
	bool		writing;
	Size		bytes;
	int			nslots;
	Oid			slots_of;		/* table for which the slots were made */
	MemoryContext slot_context;
	TupleTableSlot *slots[GATHER_ROWS];	/* the last field: put_reset() does not clear it */
} Gathered;

void
put_create(ApplyContext *cx)
{
	Assert(!cx->gathered);
	cx->gathered = MemoryContextAllocZero(TopMemoryContext, sizeof(Gathered));
}

/* ---------- tombstones ---------- */

/*
 * Returns true if no remembered delete of the table's rows could beat the put or is unknown to its
 * writer.
 */
static bool
no_delete_matters(ApplyRelation *ar)
{
	/*
	 * A kept change may come after later changes of its own node, if those arrived under another
	 * table name.
	 */
	if (ar->cx->mode.kept)
		return !ar->tombstones;
	return !ar->tombstones || newest_delete_all_seen(ar->relid, ar->cx->version, ar->cx->seen);
}

/* ---------- gathered inserts ---------- */

/* Returns the slot for the next gathered row. */
static TupleTableSlot *
next_slot(Gathered *g, ApplyTarget *t)
{
	MemoryContext old;

	if (g->slots_of != t->relid || !g->slot_context)
	{
		if (g->slot_context)
			MemoryContextDelete(g->slot_context);
		g->slot_context = AllocSetContextCreate(TopTransactionContext, "gathered rows",
												ALLOCSET_DEFAULT_SIZES);
		g->nslots = 0;
		g->slots_of = t->relid;
	}
	if (g->n == g->nslots)
	{
		old = MemoryContextSwitchTo(g->slot_context);
		g->slots[g->nslots++] =
			MakeSingleTupleTableSlot(t->newslot->tts_tupleDescriptor, t->newslot->tts_ops);
		MemoryContextSwitchTo(old);
	}
	return g->slots[g->n];
}

/* Deletes those of the inserted rows whose keys have newer tombstones. */
static void
check_inserted(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot **slots, int n)
{
	if (no_delete_matters(ar))
		return;
	for (int i = 0; i < n; i++)
	{
		Datum		key[INDEX_MAX_KEYS];

		pulse_step();
		place_key(t, slots[i], key);
		if (!deleted_allows_put(ar, key, slots[i], CONFLICT_INSERT_EXISTS) &&
			write_delete(ar, t, &slots[i]->tts_tid) != WRITE_DONE)
			elog(ERROR, "could not take back an inserted row");
	}
}

void
put_flush(ApplyContext *cx)
{
	Gathered   *g = cx->gathered;
	ApplyRelation *ar = g->rel;
	int			n = g->n;
	MemoryContext old;
	OwnerContext saved;

	if (!ar)
		return;
	Assert(cx->active && ar->cx == cx);
	Assert(n > 0 && n <= g->nslots && g->slots_of == g->target->relid);
	saved = become_owner(ar);	/* whichever user is current */
	old = MemoryContextSwitchTo(cx->row_context);
	g->rel = NULL;
	g->writing = true;
	if (n == 1)
		write_insert(ar, g->target, g->slots[0]);
	else
		write_insert_many(ar, g->target, g->slots, n);
	check_inserted(ar, g->target, g->slots, n);
	for (int i = 0; i < n; i++)
		ExecClearTuple(g->slots[i]);
	g->n = 0;
	g->bytes = 0;
	g->writing = false;
	as_owner_end(saved);
	MemoryContextSwitchTo(old);
	MemoryContextReset(cx->row_context);
}

bool
put_is_gathering(const ApplyContext *cx)
{
	return cx->gathered->rel != NULL;
}

bool
put_is_writing_many(const ApplyContext *cx)
{
	return cx->gathered->writing;
}

void
put_reset(ApplyContext *cx)
{
	/* the end of the transaction has freed the slots and their context */
	memset(cx->gathered, 0, offsetof(Gathered, slots));
}

/* Gathers an insert, to be written later. */
static void
put_gather(ApplyRelation *ar, ApplyTarget *t)
{
	ApplyContext *cx = ar->cx;
	Gathered   *g = cx->gathered;

	Assert(!g->rel || (g->rel == ar && g->target == t));
	Assert(!ar->parking && !ar->partitioned && !cx->mode.careful && !g->writing);
	row_fill_slot(ar, t, NULL, next_slot(g, t));
	g->rel = ar;
	g->target = t;
	g->n++;
	for (int i = 0; i < cx->newtup.ncolumns; i++)
		g->bytes += cx->newtup.columns[i].len;
	if (g->n == GATHER_ROWS || g->bytes >= GATHER_BYTES)
		put_flush(cx);
}

/* ---------- one row ---------- */

/* Writes the row when there is none of its key. */
static void
insert_new(ApplyRelation *ar, ConflictKind missing)
{
	ApplyTarget *t;
	Datum		key[INDEX_MAX_KEYS];

	Assert(!put_is_gathering(ar->cx));
	row_to_root_slot(ar);
	t = relation_route(ar);
	row_fill_slot(ar, t, NULL, t->newslot);
	write_insert(ar, t, t->newslot);
	if (missing == CONFLICT_UPDATE_MISSING ? !ar->tombstones : no_delete_matters(ar))
		return;
	place_key(t, t->newslot, key);
	row_to_root_slot(ar);
	if (!deleted_allows_put(ar, key, ar->root_slot, missing) &&
		write_delete(ar, t, &t->newslot->tts_tid) != WRITE_DONE)
		elog(ERROR, "could not take back an inserted row");
}

/* Moves the found row to another partition. */
static WriteResult
move_row(ApplyRelation *ar, ApplyTarget *from, ApplyTarget *to)
{
	ExecMaterializeSlot(from->newslot);
	if (from->to_root)
		execute_attr_map_slot(from->to_root->attrMap, from->newslot, ar->root_slot);
	else
		ExecCopySlot(ar->root_slot, from->newslot);
	if (to->from_root)
		execute_attr_map_slot(to->from_root->attrMap, ar->root_slot, to->newslot);
	else
		ExecCopySlot(to->newslot, ar->root_slot);
	if (write_delete(ar, from, &from->found->tts_tid) == WRITE_AGAIN)
		return WRITE_AGAIN;
	write_insert(ar, to, to->newslot);
	return WRITE_DONE;
}

/* Replaces the found row by the arriving one. */
static WriteResult
replace_found(ApplyRelation *ar, ApplyTarget *t)
{
	ApplyTarget *to = t;

	row_fill_slot(ar, t, t->found, t->newslot);
	if (ar->partitioned)
	{
		row_to_root_slot(ar);
		to = relation_route(ar);
	}
	if (to != t)
		return move_row(ar, t, to);
	return write_update(ar, t, t->newslot);
}

/*
 * Puts a row over the found row of the same key, if the put is newer. Returns WRITE_AGAIN if the
 * found row has changed meanwhile.
 */
static WriteResult
put_over_found(ApplyRelation *ar, ApplyTarget *t, ConflictKind type, Missing missing,
			   const Datum *key)
{
	Version		local = place_version(ar, t, t->found, ar->cx->version);
	bool		seen = apply_was_seen(ar->cx, local);
	WriteResult result;

	Assert(!TTS_EMPTY(t->found));
	apply_refuse_twin(ar, local);
	if (!apply_wins(ar->cx, local))
	{
		row_to_root_slot(ar);
		apply_conflict(ar, type, RESOLUTION_KEEP_LOCAL, t->found, local, ar->root_slot, NULL);
		return WRITE_DONE;
	}
	if (!seen)
		ExecMaterializeSlot(t->found);	/* the row to be recorded must outlast the write */
	if (fetch_needed(ar, missing, seen) && !fetch_missing(ar, key))
		return WRITE_DONE;		/* the provider has a newer state, which will arrive */
	result = replace_found(ar, t);
	if (result == WRITE_DONE && !seen)
	{
		row_to_root_slot(ar);
		apply_conflict(ar, type, RESOLUTION_APPLY_REMOTE, t->found, local, ar->root_slot, NULL);
	}
	return result;
}

/* Returns the target that has, or would have, a key. */
static ApplyTarget *
target_of_key(ApplyRelation *ar, const Datum *key)
{
	if (ar->partitioned)
		row_key_to_root_slot(ar, key);
	return relation_route(ar);
}

/*
 * Puts a row by its own key. exists, absent: the types of a conflict with a present, or an absent,
 * row.
 */
static void
put_one_row(ApplyRelation *ar, ConflictKind exists, ConflictKind absent, Missing missing)
{
	Datum		key[INDEX_MAX_KEYS];
	ApplyTarget *t;

	row_key_of_values(ar, key);
	t = target_of_key(ar, key);
	while (search_key_surely(t, key))
	{
		if (put_over_found(ar, t, exists, missing, key) == WRITE_DONE)
			return;
	}
	if (missing != MISSING_NONE && !fetch_missing(ar, key))
		return;
	insert_new(ar, absent);
}

/* Returns true if an insert must not be gathered. */
static bool
one_by_one(ApplyRelation *ar)
{
	if (ar->partitioned || ar->parking || ar->cx->mode.careful || !write_can_gather(ar->target))
		return true;
	return ar->nkeys > 0 && !ar->tombstones;
}

void
put_insert(ApplyRelation *ar)
{
	bool		alone = one_by_one(ar);
	Missing		missing;

	Assert(session_in_row() && CurrentMemoryContext == ar->cx->row_context && !ar->merge);
	/* Flush before the row is read, because flushing resets the memory into which it is read. */
	if (alone || (ar->cx->gathered->rel && ar->cx->gathered->rel != ar))
		put_flush(ar->cx);
	missing = row_read(ar, &ar->cx->newtup) == MISSING_NONE ? MISSING_NONE : MISSING_FROM_PROVIDER;
	if (ar->parking)
		park_put(ar, CONFLICT_INSERT_EXISTS, CONFLICT_INSERT_EXISTS, missing);
	else if (!alone)
		put_gather(ar, ar->target);
	else if (ar->nkeys > 0)
		put_one_row(ar, CONFLICT_INSERT_EXISTS, CONFLICT_INSERT_EXISTS, missing);
	else
		insert_new(ar, CONFLICT_INSERT_EXISTS);
}

void
put_write(ApplyRelation *ar)
{
	if (!ar->cx->write.context.plain || ar->cx->write.deleted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not mergeable on this node", ar->remote.nspname, ar->remote.relname)));
	put_insert(ar);
}

/* ---------- updates ---------- */

/*
 * Applies an update that changes the key: the row moves from the old key to the new one. This is a
 * delete of the old key and a put of the new key, with one version. If the old row is here and
 * older, no row has the new key, and all values were sent, it is written as one update.
 *
 * Values that were not sent are those of the writer's row of the old key. The local row may have
 * been completed with values of a newer state of that key, which does not replace the new key's row
 * in the end. Such values are therefore always fetched.
 */
static void
put_update_of_key(ApplyRelation *ar, Missing missing)
{
	Datum		oldkey[INDEX_MAX_KEYS],
				newkey[INDEX_MAX_KEYS];
	ApplyTarget *t;

	row_read_key(ar, &ar->cx->oldtup, oldkey);
	row_key_of_values(ar, newkey);
	t = target_of_key(ar, oldkey);
	while (missing == MISSING_NONE && search_key_surely(t, oldkey))
	{
		Version		local = place_version(ar, t, t->found, ar->cx->version);

		if (!apply_wins(ar->cx, local) || !apply_was_seen(ar->cx, local))
			break;
		{
			ApplyTarget *to = target_of_key(ar, newkey);
			TupleTableSlot *kept = to == t ? MakeSingleTupleTableSlot(t->found->tts_tupleDescriptor,
																	   t->found->tts_ops) : NULL;
			bool		taken;

			/* the search below reuses the slot of the found row */
			if (kept)
				ExecCopySlot(kept, t->found), kept->tts_tid = t->found->tts_tid;
			taken = search_key_surely(to, newkey);
			if (kept)
			{
				ExecCopySlot(t->found, kept);
				t->found->tts_tid = kept->tts_tid;
				ExecDropSingleTupleTableSlot(kept);
			}
			if (taken)
				break;
		}
		if (replace_found(ar, t) == WRITE_AGAIN)
			continue;
		if (ar->tombstones)
		{
			tombstone_write(ar->tombstones, oldkey, true);
			row_to_root_slot(ar);
			if (!deleted_allows_put(ar, newkey, ar->root_slot, CONFLICT_UPDATE_EXISTS))
			{
				ApplyTarget *to = target_of_key(ar, newkey);

				if (search_key_surely(to, newkey))
					write_delete(ar, to, &to->found->tts_tid);
			}
		}
		return;
	}

	/*
	 * The old row is gone, newer, or not the one that the writer had; the delete of the old key
	 * arrives as a separate message. Values that were not sent are those of the new key's row at
	 * the provider.
	 */
	put_one_row(ar, CONFLICT_UPDATE_EXISTS, CONFLICT_UPDATE_MISSING,
			missing == MISSING_NONE ? MISSING_NONE : MISSING_FROM_PROVIDER);
}

/* Updates the row that equals the old one, in a table without a key. */
static void
put_update_by_row(ApplyRelation *ar)
{
	ApplyTarget *t;

	Assert(ar->nkeys == 0 && ar->cx->has_old);
	for (;;)
	{
		row_read(ar, &ar->cx->oldtup);
		row_to_root_slot(ar);
		t = relation_route(ar);
		if (!search_image(ar, t))
			break;
		row_read(ar, &ar->cx->newtup);
		if (replace_found(ar, t) == WRITE_DONE)
			return;
	}
	row_read(ar, &ar->cx->newtup);
	row_to_root_slot(ar);
	apply_conflict(ar, CONFLICT_UPDATE_MISSING, RESOLUTION_KEEP_LOCAL, NULL, VERSION_OLDEST,
				   ar->root_slot, NULL);
}

void
put_update(ApplyRelation *ar)
{
	Missing		missing;
	Datum		key[INDEX_MAX_KEYS];
	ApplyTarget *t;

	Assert(session_in_row() && CurrentMemoryContext == ar->cx->row_context && !ar->merge);
	put_flush(ar->cx);
	if (ar->nkeys == 0)
	{
		if (!ar->cx->has_old)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("an update of table \"%s.%s\", which has no key, came without the old row",
							ar->remote.nspname, ar->remote.relname)));
		put_update_by_row(ar);
		return;
	}
	missing = row_read(ar, &ar->cx->newtup);
	if (ar->parking)
	{
		/* if the update changes the key, the delete of the old key arrives as a separate message */
		if (missing != MISSING_NONE && ar->cx->has_old)
			missing = MISSING_FROM_PROVIDER;
		park_put(ar, ar->cx->has_old ? CONFLICT_UPDATE_EXISTS : CONFLICT_UPDATE_ORIGIN_DIFFERS,
				 CONFLICT_UPDATE_MISSING, missing);
		return;
	}
	if (ar->cx->has_old)
	{
		put_update_of_key(ar, missing);
		return;
	}

	/* the usual case: the row exists, and one search finds it */
	row_key_of_values(ar, key);
	t = target_of_key(ar, key);
	if (search_key(t, key) &&
		put_over_found(ar, t, CONFLICT_UPDATE_ORIGIN_DIFFERS, missing, key) == WRITE_DONE)
		return;
	put_one_row(ar, CONFLICT_UPDATE_ORIGIN_DIFFERS, CONFLICT_UPDATE_MISSING, missing);
}
