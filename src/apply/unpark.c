/*
 * unpark.c
 *		Lets parked rows come back when their place is free.
 *
 * Invariant at rest: each parked row is blocked by a newer row that is shown. Applying does not
 * fully maintain this invariant: a row that makes room for an arriving row may free the place of a
 * third one, and local writes ignore parked rows. Unparking is therefore repeated until nothing
 * changes. Then the table shows the rows that place.h requires, whatever happened in between.
 *
 * A key that has been written since its row was parked (inserted again, and possibly deleted) has a
 * newer row or tombstone. Its parked row is then obsolete.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/context.h"
#include "apply/place.h"
#include "apply/put.h"
#include "apply/row.h"
#include "apply/search.h"
#include "apply/unique.h"
#include "apply/unpark.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/cut_text.h"
#include "base/fault_point.h"
#include "base/own_transaction.h"
#include "base/pulse.h"
#include "base/session.h"
#include "base/settings.h"
#include "shared/origin_map.h"
#include "shared/origin_mark.h"

#define MOST_AT_ONCE	1000	/* rows that come back in one transaction */
#define RETRY_AFTER		10		/* pause after an error, in seconds */
/*
 * Time limit of one transaction, whatever it waits for, because other tables wait for this process.
 */
#define LIMIT_MS		60000
#define WAIT_FOR_OTHERS	5		/* pause after an error that concurrent writers cause, in seconds */

/* A look at one table. */
typedef struct Look
{
	ApplyContext *cx;
	Oid			relid;
	/* key of the row to which an error would be attributed, in the row context; NULL: none */
	bytea	   *at_work;
} Look;

/* ---------- transactions ---------- */

/* Begins a transaction that is not replicated. */
static void
unpark_begin(ApplyContext *cx)
{
	OwnTransaction t;
	RepOriginId origin;

	Assert(!cx->active && !put_is_gathering(cx));
	t = own_transaction_begin();
	origin = origin_map_create(ORIGIN_NODE_REPAIR);
	own_transaction_end(&t);
	relation_use(cx, RELATIONS_SENT);
	StartTransactionCommand();
	origin_acquire(origin);
	origin_mark(origin);
	(void) set_config_option("lock_timeout", "500ms", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	cx->version = VERSION_OLDEST; /* only pins give versions to what it writes */
	PushActiveSnapshot(GetTransactionSnapshot());
	tombstone_begin_transaction();
	pulse_begin();
	pulse_limit(LIMIT_MS);
}

static void
release_origin(void)
{
	origin_unmark();
	origin_give_back();
}

static void
unpark_commit(ApplyContext *cx)
{
	Assert(replorigin_session_origin == origin_map_origin(ORIGIN_NODE_REPAIR));
	tombstone_end_transaction();
	relation_close_all(cx);
	target_close_all();
	PopActiveSnapshot();
	FAULT_POINT("unpark_commit_before");
	CommitTransactionCommand();
	FAULT_POINT("unpark_commit_after");
	pulse_end();
	release_origin();
}

/* ---------- one row ---------- */

/* Returns true if the stored state shows that the key has been written since its row was parked. */
static bool
is_replaced(ApplyRelation *ar, const Datum *key, Version parked)
{
	Version		deleted;
	RowState	state;

	if (ar->merge)
	{
		row_state_find(ar->tombstones, key, VERSION_OLDEST, &state);
		if (state.set->n > 0)
			return version_cmp(state.set->items[0].version, parked) != 0;
	}
	return tombstone_find(ar->tombstones, key, VERSION_OLDEST, &deleted) &&
		   version_cmp(deleted, parked) > 0;
}

/*
 * Does the same, but also returns true if the key has a row, whose writer has not seen the parked
 * row.
 */
static bool
is_over(ApplyRelation *ar, ApplyTarget *t, const Datum *key, Version parked)
{
	return search_key(t, key) || is_replaced(ar, key, parked);
}

/*
 * Stores a row's values where row.c stores those of an arriving row. Returns false if a mergeable
 * row would show nothing.
 */
static bool
take_values(ApplyRelation *ar, const Datum *key, const ParkedRow *parked)
{
	/*
	 * This slot lives as long as the row's memory, because it may own the values, and root_slot is
	 * cleared before they are used.
	 */
	TupleTableSlot *row =
		MakeSingleTupleTableSlot(ar->root_slot->tts_tupleDescriptor, &TTSOpsVirtual);
	Version		version;

	if (!ar->merge)
		row_decode(ar->codec, &parked->row, row);
	else if (!merge_table_parked(ar->merge, ar->rel, key, row, &version))
		return false;
	slot_getallattrs(row);
	memcpy(ar->values, row->tts_values, ar->natts * sizeof(Datum));
	memcpy(ar->nulls, row->tts_isnull, ar->natts * sizeof(bool));
	memset(ar->present, true, ar->natts * sizeof(bool));
	ar->completed = false;
	return true;
}

/* Makes the table show a row again. */
static void
unpark_show(ApplyRelation *ar, ApplyTarget *t, const Datum *key, const ParkedRow *parked)
{
	write_insert(ar, t, t->newslot);

	/*
	 * From here on no other transaction can write the key unseen. Another one may have inserted and
	 * deleted it since the search.
	 */
	if (is_replaced(ar, key, parked->version))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a row of table \"%s\" was written while it came back", RelationGetRelationName(ar->rel))));
	(void) parked_remove(ar->tombstones, key);
	pin_store(ar->tombstones, key, GetCurrentTransactionId(), parked->version);
	ar->pinned = true;
}

/* Records, for the view of parked rows, which row is in the way now. */
static void
note_blocker(ApplyRelation *ar, const Datum *key, const ParkedRow *before, const ParkedRow *now)
{
	if (before->index_id == now->index_id &&
		VARSIZE_ANY(before->blocked_by) == VARSIZE_ANY(now->blocked_by) &&
		memcmp(VARDATA_ANY(before->blocked_by), VARDATA_ANY(now->blocked_by),
			   VARSIZE_ANY_EXHDR(now->blocked_by)) == 0)
		return;
	(void) parked_store(ar->tombstones, key, now);
}

/* Puts the values of a row (row.c) into the slot of the target to which it belongs. */
static void
fill_target(ApplyRelation *ar, ApplyTarget *t)
{
	row_fill_slot(ar, t, NULL, t->newslot);
	ExecMaterializeSlot(t->newslot);
}

List *
unpark_clashes(ApplyRelation *ar, const Datum *key, const ParkedRow *parked, ApplyTarget **t)
{
	bool		busy;

	if (!take_values(ar, key, parked))
		return NIL;
	row_to_root_slot(ar);
	*t = relation_route_any(ar);
	if (!*t)
		return NIL;
	fill_target(ar, *t);
	write_generate(*t, (*t)->newslot);
	return unique_clashes(*t, (*t)->newslot, false, &busy);
}

/* Finds a place for a parked row. Returns true if the row is shown now. */
static bool
try_show(ApplyRelation *ar, const ParkedEntry *e, const Datum *key, const ParkedRow *before)
{
	const PlaceFor who = {.version = e->version,.own = VERSION_OLDEST};
	ApplyTarget *t;
	ParkedRow	parked;

	row_to_root_slot(ar);
	t = relation_route(ar);
	fill_target(ar, t);
	switch (place_take(ar, t, t->newslot, &who, &parked))
	{
		case PLACE_FREE:
			unpark_show(ar, t, key, before);
			return true;
		case PLACE_TAKEN:
			note_blocker(ar, key, before, &parked);
			return false;
		case PLACE_AGAIN:
		case PLACE_BUSY:
			/* the other writer commits, and then this function is called again */
			return false;
	}
	return false;
}

/*
 * Checks one parked row. Returns true if what the table shows has changed, or should be checked
 * again.
 */
static bool
unpark_look_at(ApplyRelation *ar, const ParkedEntry *e)
{
	Datum		key[INDEX_MAX_KEYS];
	ParkedRow	before;

	Assert(session_in_row() && ar->parking);
	if (!tombstone_key_values(ar->tombstones, e->key, key))
		/* the table has another key now; when it has its old key again, the row is known again */
		return false;
	if (!parked_find(ar->tombstones, key, &before) || version_cmp(before.version, e->version) != 0)
		return true;			/* the row made room for another one, and was parked again */
	row_key_to_root_slot(ar, key);
	if (is_over(ar, relation_route(ar), key, e->version) || !take_values(ar, key, &before))
		return parked_remove(ar->tombstones, key);
	return !e->later && try_show(ar, e, key, &before);
}

/* ---------- tables ---------- */

/* Checks the parked rows of a table. */
static UnparkResult
unpark_look_at_all(Look *look)
{
	ApplyContext *cx = look->cx;
	ApplyRelation *ar = relation_open_local(cx, look->relid);
	int			changed = 0;
	ListCell   *lc;
	MemoryContext old = MemoryContextSwitchTo(cx->row_context);
	MemoryContext  each =
		AllocSetContextCreate(cx->row_context, "parked row", ALLOCSET_DEFAULT_SIZES);
	OwnerContext saved;

	if (!ar->tombstones)
	{
		MemoryContextSwitchTo(old);
		return UNPARK_DONE;		/* nothing can be done until the table has a key again */
	}
	parked_lock(ar->relid, true);
	ar->placed = ar->parking = ar->pinned = true;
	saved = become_owner(ar);
	foreach(lc, parked_list(ar->relid, GetLatestSnapshot(), false))
	{
		ParkedEntry *e = lfirst(lc);

		pulse_step();
		look->at_work = e->key;
		MemoryContextSwitchTo(each);
		changed += unpark_look_at(ar, e) ? 1 : 0;
		MemoryContextSwitchTo(cx->row_context);
		MemoryContextReset(each);
		if (changed == MOST_AT_ONCE)
			break;
	}
	become_worker(saved);
	MemoryContextDelete(each);
	look->at_work = NULL;
	MemoryContextSwitchTo(old);
	return changed > 0 ? UNPARK_MORE : UNPARK_DONE;
}

/* Cleans up after an error. */
static void
abort_all(ApplyContext *cx, MemoryContext context)
{
	FlushErrorState();
	origin_abort_transaction();
	release_origin();
	apply_reset(cx);
	MemoryContextSwitchTo(context);
}

/* Records an error with the row that caused it. */
static void
unpark_note_error(const Look *look, bytea *bytes, const char *message, int seconds)
{
	ApplyRelation *ar;
	Datum		key[INDEX_MAX_KEYS];
	OwnerContext saved;

	unpark_begin(look->cx);
	ar = relation_open_local(look->cx, look->relid);
	parked_lock(look->relid, true);
	saved = become_owner(ar);
	if (ar->tombstones && tombstone_key_values(ar->tombstones, bytes, key))
		parked_note_error(ar->tombstones, key, message, seconds);
	become_worker(saved);
	unpark_commit(look->cx);
}

/* Does the same. Returns false if that failed, because the table may be locked. */
static bool
try_note_error(const Look *look, bytea *bytes, const char *message, int seconds,
			   MemoryContext context)
{
	volatile bool noted = false;

	PG_TRY();
	{
		unpark_note_error(look, bytes, message, seconds);
		noted = true;
	}
	PG_CATCH();
	{
		abort_all(look->cx, context);
	}
	PG_END_TRY();
	return noted;
}

/*
 * Returns true for errors caused by races with other writers. The winner commits, and then the
 * table is checked again.
 */
static bool
is_passing(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_UNIQUE_VIOLATION ||
		sqlstate == ERRCODE_EXCLUSION_VIOLATION || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/*
 * Sets the message of an error that the limit for the code of a row has caused. Returns the number
 * of seconds until the next attempt, because that code delays others.
 */
static int
explain_limit(ErrorData *edata)
{
	edata->message = psprintf("coming back took longer than replication_plugin.row_timeout (%d ms)%s", setting_row_timeout,
							  cut_error_context(edata));
	return setting_row_timeout / 1000 * RETRY_AFTER + 1;
}

/*
 * Cleans up after an error. An error of a row is recorded with the row. Other errors are raised
 * again, except transient ones.
 */
static UnparkResult
unpark_clean_up(Look *look, MemoryContext context)
{
	ErrorData  *edata;
	bytea	   *key = NULL;
	int			pause;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	pause = pulse_timed_out()				? explain_limit(edata)
			: is_passing(edata->sqlerrcode) ? WAIT_FOR_OTHERS
											: RETRY_AFTER;
	if (look->at_work)
	{
		key = palloc(VARSIZE_ANY(look->at_work));
		memcpy(key, look->at_work, VARSIZE_ANY(look->at_work));
	}
	look->at_work = NULL;
	abort_all(look->cx, context);
	ereport(DEBUG1, (errmsg("parked rows of table %u are looked at again later: %s", look->relid, edata->message)));
	if (key)
	{
		if (!try_note_error(look, key, cut_text(edata->message, 1000), pause, context))
			return UNPARK_LATER;
	}
	else if (!is_passing(edata->sqlerrcode))
		ReThrowError(edata);
	FreeErrorData(edata);
	return key ? UNPARK_SKIPPED : UNPARK_LATER;
}

UnparkResult
unpark_table(ApplyContext *cx, Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	/* not on the stack, because the error handler reads it */
	Look	   *look = palloc0(sizeof(Look));
	volatile UnparkResult result = UNPARK_LATER;

	look->cx = cx;
	look->relid = relid;
	PG_TRY();
	{
		unpark_begin(cx);
		result = unpark_look_at_all(look);
		unpark_commit(cx);
		MemoryContextReset(cx->row_context);
	}
	PG_CATCH();
	{
		result = unpark_clean_up(look, context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return result;
}

/* Returns true if a row of a target has a pin that is in force. */
static bool
pin_tells(ApplyRelation *ar, ApplyTarget *t, const Datum *key)
{
	Version		version;
	bool		isnull;

	return search_key(t, key) &&
		   pin_find(ar->tombstones, key,
					DatumGetTransactionId(
						slot_getsysattr(t->found, MinTransactionIdAttributeNumber, &isnull)),
					&version);
}

/*
 * Returns the targets that may have rows of a table: its own target, or those of all partitions,
 * because the partition of a key may be gone.
 */
static List *
targets_of(ApplyRelation *ar)
{
	List	   *targets = NIL;
	ListCell   *lc;

	if (!ar->partitioned)
		return list_make1(ar->target);
	foreach(lc, find_all_inheritors(ar->relid, AccessShareLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION)
			targets = lappend(targets, relation_leaf(ar, lfirst_oid(lc)));
	}
	return targets;
}

/* Removes those pins of a table that are not in force any more. */
static void
collect_pins(ApplyContext *cx, Oid relid)
{
	ApplyRelation *ar = relation_open_local(cx, relid);
	List	   *targets;
	ListCell   *lc;
	OwnerContext saved;

	if (!ar->tombstones)
		return;
	parked_lock(relid, true);
	saved = become_owner(ar);
	targets = targets_of(ar);
	foreach(lc, pin_list(relid))
	{
		Datum		key[INDEX_MAX_KEYS];
		bool		tells = false;
		ListCell   *target;

		pulse_step();
		if (!tombstone_key_values(ar->tombstones, lfirst(lc), key))
			continue;
		foreach(target, targets)
			tells = tells || pin_tells(ar, lfirst(target), key);
		if (!tells)
			pin_remove(ar->tombstones, key);
	}
	become_worker(saved);
}

void
unpark_collect_pins(ApplyContext *cx, Oid relid)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		unpark_begin(cx);
		collect_pins(cx, relid);
		unpark_commit(cx);
		MemoryContextReset(cx->row_context);
	}
	PG_CATCH();
	{
		Look		look = {.cx = cx,.relid = relid};

		(void) unpark_clean_up(&look, context);	/* collect the pins another time */
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}
