/*
 * unpark.c
 *		Parked rows come back when their place is free.
 *
 * Invariant at rest: each parked row has a newer one in its way that is shown. Applying keeps it
 * only so far: what makes room for an arriving row may free the place of a third, and local writes
 * know nothing of parked rows. So this is done again and again until nothing changes; then what is
 * shown is what place.h says, whatever came in between.
 *
 * A key that has been written since it was parked (inserted anew, or that and deleted) has a newer
 * row or tombstone: what is parked is over then.
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
#include "apply/unpark.h"
#include "apply/write.h"
#include "base/cut_text.h"
#include "base/fault_point.h"
#include "base/pulse.h"
#include "base/session.h"
#include "base/settings.h"
#include "shared/origin_map.h"

#define MOST_AT_ONCE	1000	/* rows that come back in one transaction */
#define RETRY_AFTER		10		/* seconds after an error ... */
/* for one transaction, whatever it waits for: other tables wait for this process */
#define LIMIT_MS		60000
#define WAIT_FOR_OTHERS	5		/* ... and after one that others cause who are writing */

/* A look at a table. */
typedef struct Look
{
	ApplyContext *cx;
	Oid			relid;
	/* key of the row at which an error is noted; in the row context. NULL: none */
	bytea	   *at_work;
} Look;

/* ---------- transactions ---------- */

/* Begins a transaction that nobody else sees. */
static void
begin(ApplyContext *cx)
{
	RepOriginId origin;

	Assert(!cx->active && !put_is_gathering(cx));
	StartTransactionCommand();
	origin = origin_map_create(ORIGIN_NODE_REPAIR);
	CommitTransactionCommand();
	relation_use(cx, RELATIONS_SENT);
	StartTransactionCommand();
	replorigin_session_setup(origin);
	replorigin_session_origin = origin;
	(void) set_config_option("lock_timeout", "500ms", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	cx->version = VERSION_OLDEST; /* what it writes has its version by pins only */
	PushActiveSnapshot(GetTransactionSnapshot());
	tombstone_begin_transaction();
	pulse_begin();
	pulse_limit(LIMIT_MS);
}

static void
release_origin(void)
{
	if (replorigin_session_origin != InvalidRepOriginId)
		replorigin_session_reset();
	replorigin_session_origin = InvalidRepOriginId;
}

static void
commit(ApplyContext *cx)
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

/* True if the key has been written since its row was parked, as far as what is stored tells. */
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
	return tombstone_find(ar->tombstones, key, VERSION_OLDEST, &deleted) && version_cmp(deleted, parked) > 0;
}

/* The same, or there is a row of the key: who writes it has not seen what is parked. */
static bool
is_over(ApplyRelation *ar, ApplyTarget *t, const Datum *key, Version parked)
{
	return search_key(t, key) || is_replaced(ar, key, parked);
}

/*
 * Puts a row's values where row.c has those of an arriving one; false if a mergeable one would show
 * nothing.
 */
static bool
take_values(ApplyRelation *ar, const Datum *key, const ParkedRow *parked)
{
	/*
	 * lives as long as the row's memory: it may own the values, and root_slot is cleared before
	 * they are used
	 */
	TupleTableSlot *row = MakeSingleTupleTableSlot(ar->root_slot->tts_tupleDescriptor, &TTSOpsVirtual);
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

/* The table shows a row again. */
static void
show(ApplyRelation *ar, ApplyTarget *t, const Datum *key, const ParkedRow *parked)
{
	write_insert(ar, t, t->newslot);

	/*
	 * from here on nobody can write the key unseen; somebody may have inserted and deleted it since
	 * we looked
	 */
	if (is_replaced(ar, key, parked->version))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a row of table \"%s\" was written while it came back", RelationGetRelationName(ar->rel))));
	(void) parked_remove(ar->tombstones, key);
	pin_store(ar->tombstones, key, GetCurrentTransactionId(), parked->version);
	ar->pinned = true;
}

/* Tells the view what is in the way now. */
static void
note_blocker(ApplyRelation *ar, const Datum *key, const ParkedRow *before, const ParkedRow *now)
{
	if (before->index_id == now->index_id && VARSIZE_ANY(before->blocked_by) == VARSIZE_ANY(now->blocked_by) &&
		memcmp(VARDATA_ANY(before->blocked_by), VARDATA_ANY(now->blocked_by), VARSIZE_ANY_EXHDR(now->blocked_by)) == 0)
		return;
	(void) parked_store(ar->tombstones, key, now);
}

/* Finds a place for a parked row. Returns whether it has one. */
static bool
try_show(ApplyRelation *ar, const ParkedEntry *e, const Datum *key, const ParkedRow *before)
{
	const PlaceFor who = {.version = e->version,.own = VERSION_OLDEST};
	ApplyTarget *t;
	ParkedRow	parked;

	row_to_root_slot(ar);
	t = relation_route(ar);
	row_fill_slot(ar, t, NULL, t->newslot);
	ExecMaterializeSlot(t->newslot);
	switch (place_take(ar, t, t->newslot, &who, &parked))
	{
		case PLACE_FREE:
			show(ar, t, key, before);
			return true;
		case PLACE_TAKEN:
			note_blocker(ar, key, before, &parked);
			return false;
		case PLACE_AGAIN:
		case PLACE_BUSY:
			return false;		/* whoever is writing there commits, and then we are called again */
	}
	return false;
}

/*
 * Looks at one parked row. Returns whether what the table shows has changed, or should be looked at
 * again.
 */
static bool
look_at(ApplyRelation *ar, const ParkedEntry *e)
{
	Datum		key[INDEX_MAX_KEYS];
	ParkedRow	before;

	Assert(session_in_row() && ar->parking);
	if (!tombstone_key_values(ar->tombstones, e->key, key))
		/* the table has another key now; when it has its old one again, we know the row */
		return false;
	if (!parked_find(ar->tombstones, key, &before) || version_cmp(before.version, e->version) != 0)
		return true;			/* it made room for another one, and then came anew */
	row_key_to_root_slot(ar, key);
	if (is_over(ar, relation_route(ar), key, e->version) || !take_values(ar, key, &before))
		return parked_remove(ar->tombstones, key);
	return !e->later && try_show(ar, e, key, &before);
}

/* ---------- tables ---------- */

/* Looks at the parked rows of a table. */
static UnparkResult
look_at_all(Look *look)
{
	ApplyContext *cx = look->cx;
	ApplyRelation *ar = relation_open_local(cx, look->relid);
	int			changed = 0;
	ListCell   *lc;
	MemoryContext old = MemoryContextSwitchTo(cx->row_context);
	MemoryContext each = AllocSetContextCreate(cx->row_context, "parked row", ALLOCSET_DEFAULT_SIZES);
	OwnerContext saved;

	if (!ar->tombstones)
	{
		MemoryContextSwitchTo(old);
		return UNPARK_DONE;		/* nothing can be done before it has a key again */
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
		changed += look_at(ar, e) ? 1 : 0;
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

/* Ends what an error has left behind. */
static void
abort_all(ApplyContext *cx, MemoryContext context)
{
	FlushErrorState();
	AbortOutOfAnyTransaction();
	release_origin();
	apply_reset(cx);
	MemoryContextSwitchTo(context);
}

/* Notes an error at the row that was at work. */
static void
note_error(const Look *look, bytea *bytes, const char *message, int seconds)
{
	ApplyRelation *ar;
	Datum		key[INDEX_MAX_KEYS];
	OwnerContext saved;

	begin(look->cx);
	ar = relation_open_local(look->cx, look->relid);
	parked_lock(look->relid, true);
	saved = become_owner(ar);
	if (ar->tombstones && tombstone_key_values(ar->tombstones, bytes, key))
		parked_note_error(ar->tombstones, key, message, seconds);
	become_worker(saved);
	commit(look->cx);
}

/* The same; returns whether it could be noted: the table may be locked. */
static bool
try_note_error(const Look *look, bytea *bytes, const char *message, int seconds, MemoryContext context)
{
	volatile bool noted = false;

	PG_TRY();
	{
		note_error(look, bytes, message, seconds);
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
 * True for what a race with other writers brings: whoever won commits, and then we are called
 * again.
 */
static bool
is_passing(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_UNIQUE_VIOLATION ||
		sqlstate == ERRCODE_EXCLUSION_VIOLATION || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/*
 * Says of an error that it comes of the limit for a row's own code. Returns after how many seconds
 * to try again: that code holds others up.
 */
static int
explain_limit(ErrorData *edata)
{
	edata->message = psprintf("coming back took longer than replication_plugin.row_timeout (%d ms)%s%s", setting_row_timeout,
							  edata->context ? ": " : "", cut_text(edata->context, 200));
	return setting_row_timeout / 1000 * RETRY_AFTER + 1;
}

/*
 * Cleans up after an error: one of a row is noted there, others are raised again, but for passing
 * ones.
 */
static UnparkResult
clean_up(Look *look, MemoryContext context)
{
	ErrorData  *edata;
	bytea	   *key = NULL;
	int			pause;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	pause = pulse_timed_out() ? explain_limit(edata) : is_passing(edata->sqlerrcode) ? WAIT_FOR_OTHERS : RETRY_AFTER;
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
	/* not on the stack: an error is told of what is noted there */
	Look	   *look = palloc0(sizeof(Look));
	volatile UnparkResult result = UNPARK_LATER;

	look->cx = cx;
	look->relid = relid;
	PG_TRY();
	{
		begin(cx);
		result = look_at_all(look);
		commit(cx);
		MemoryContextReset(cx->row_context);
	}
	PG_CATCH();
	{
		result = clean_up(look, context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return result;
}

/* True if a pin tells of a row that is in a target. */
static bool
pin_tells(ApplyRelation *ar, ApplyTarget *t, const Datum *key)
{
	Version		version;
	bool		isnull;

	return search_key(t, key) &&
		pin_find(ar->tombstones, key,
				 DatumGetTransactionId(slot_getsysattr(t->found, MinTransactionIdAttributeNumber, &isnull)), &version);
}

/*
 * Where rows of a table can be: its own target, or those of all partitions, as the partition of a
 * key may be gone.
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

/* Looks at all pins of a table. */
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
		begin(cx);
		collect_pins(cx, relid);
		commit(cx);
		MemoryContextReset(cx->row_context);
	}
	PG_CATCH();
	{
		Look		look = {.cx = cx,.relid = relid};

		(void) clean_up(&look, context);	/* another time */
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}
