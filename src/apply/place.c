/*
 * place.c
 *		Decides which of several conflicting rows a table shows.
 *
 * If a local row makes room for the arriving one, the change of that local row is not sent, because
 * each node makes the same decision by itself. It is written under the origin of repairs, which
 * decoding ignores, within the transaction of the arriving row; only the commit has that row's
 * origin.
 *
 * A parked row keeps its version. When the row comes back (unpark.c), another transaction writes
 * it, so its version is pinned. Rows in the way of parked rows are pinned as well: PostgreSQL
 * forgets commit timestamps when it freezes rows, on each node at another time, but the order of
 * the rows must stay the same.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/sysattr.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "replication/origin.h"
#include "utils/rel.h"

#include "apply/context.h"
#include "apply/place.h"
#include "apply/unique.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/full_xid.h"
#include "base/session.h"
#include "catalog/nodes.h"
#include "catalog/waiting_table.h"
#include "shared/origin_map.h"
#include "store/row_version.h"

void
place_open(ApplyRelation *ar, bool careful)
{
	Assert(ar->rel && !ar->placed);
	ar->placed = true;
	ar->parking = ar->pinned = false;
	if (!ar->tombstones || !ar->contested)
		return;
	parked_lock(ar->relid, careful);
	if (!careful && parked_any(ar->relid))
	{
		/*
		 * Nothing has been done under the shared lock yet, so release it rather than upgrade it;
		 * two upgrades could deadlock.
		 */
		parked_unlock_shared(ar->relid);
		parked_lock(ar->relid, true);
		careful = true;
	}
	ar->pinned = pin_any(ar->relid);
	ar->parking = careful;
}

void
place_key(ApplyTarget *t, TupleTableSlot *row, Datum *key)
{
	for (int i = 0; i < t->nkeys; i++)
	{
		bool		isnull;

		key[i] = slot_getattr(row, t->key_attnums[i], &isnull);
	}
}

/* Returns the xid of the transaction that wrote a local row. */
static TransactionId
writer_of(TupleTableSlot *row)
{
	bool		isnull;

	return DatumGetTransactionId(slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull));
}

void
place_refuse_unknown(ApplyRelation *ar)
{
	Assert(ar->cx->mode.kept);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("nobody knows any more when a row of table \"%s\" was written here, or deleted, of which a change is kept", RelationGetRelationName(ar->rel)),
			 errdetail("PostgreSQL forgets the timestamps of commits when it freezes rows. SELECT replication_plugin.resend_table() on the node whose rows are right gives them to all others.")));
}

/*
 * Raises an error if the decision needs the version of a row whose commit timestamp is gone. A kept
 * change has not seen transactions that were not stable when the table began to wait, although all
 * members may have them by now.
 */
static void
check_known(ApplyRelation *ar, TransactionId writer)
{
	const WaitingTable *w = ar->cx->mode.kept ? waiting_table_by_oid(ar->relid) : NULL;
	TimestampTz ts;

	if (w && full_xid_of(writer) >= Max(w->stable_xid, nodes_local_since_xid()) &&
		!TransactionIdGetCommitTsData(writer, &ts, NULL))
		place_refuse_unknown(ar);
}

Version
place_version(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, Version own)
{
	Version		v = row_version_of_slot(row, own);
	Datum		key[INDEX_MAX_KEYS];
	RowState	found;

	if (ar->merge)
	{
		place_key(t, row, key);
		return merge_table_siblings(ar->merge, ar->rel, key, row, own, &found, false)
			->items[0]
			.version;
	}
	if (!version_is_oldest(v))
		return v;
	if (ar->pinned)
	{
		place_key(t, row, key);
		(void) pin_find(ar->tombstones, key, writer_of(row), &v);
	}
	if (version_is_oldest(v))
		check_known(ar, writer_of(row));
	return v;
}

ParkedRow
place_parked(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, Version version)
{
	ParkedRow	p = {.version = version};
	TupleTableSlot *root = row;

	if (t->to_root)
	{
		root = MakeSingleTupleTableSlot(ar->root_slot->tts_tupleDescriptor, &TTSOpsVirtual);
		execute_attr_map_slot(t->to_root->attrMap, row, root);
	}
	p.row = row_sibling(ar->codec, version, root);
	if (root != row)
		ExecDropSingleTupleTableSlot(root);
	return p;
}

/* Returns the key of a row in its stored form. */
static bytea *
stored_key(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row)
{
	Datum		key[INDEX_MAX_KEYS];
	StringInfoData buf;

	initStringInfo(&buf);
	place_key(t, row, key);
	return tombstone_key_bytes(ar->tombstones, key, &buf);
}

/*
 * Orders rows by their keys, identically on all nodes. This is for two rows of one transaction,
 * which could coexist on its origin.
 */
static int
compare_keys(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *a, TupleTableSlot *b)
{
	bytea	   *x = stored_key(ar, t, a);
	bytea	   *y = stored_key(ar, t, b);
	int			c = memcmp(VARDATA(x), VARDATA(y), Min(VARSIZE(x), VARSIZE(y)) - VARHDRSZ);

	return c != 0 ? c : (int) VARSIZE(x) - (int) VARSIZE(y);
}

/* Returns true if the conflicting local row keeps its place. */
static bool
place_stays(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *there, Version version,
	  TupleTableSlot *row, const PlaceFor *who)
{
	int			c = version_cmp(version, who->version);

	if (c == 0)
		return !who->arriving && compare_keys(ar, t, there, row) > 0;
	return c > 0;
}

/* Pins the version of a local row. */
static void
place_pin(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, Version version)
{
	Datum		key[INDEX_MAX_KEYS];
	Version		pinned;

	if (version_is_oldest(version))
		return;
	place_key(t, row, key);
	if (!pin_find(ar->tombstones, key, writer_of(row), &pinned))
		pin_store(ar->tombstones, key, writer_of(row), version);
	ar->pinned = true;
}

bool
place_hide(ApplyRelation *ar, ApplyTarget *t, ItemPointer tid)
{
	RepOriginId origin = replorigin_session_origin;
	WriteResult result;

	replorigin_session_origin = origin_map_origin(ORIGIN_NODE_REPAIR);
	Assert(replorigin_session_origin != InvalidRepOriginId);
	result = write_delete(ar, t, tid);
	replorigin_session_origin = origin;
	return result == WRITE_DONE;
}

/* Parks a conflicting local row. Returns false if the row has changed meanwhile. */
static bool
place_displace(ApplyRelation *ar, ApplyTarget *t, const Clash *clash, Version version,
			   TupleTableSlot *by, const PlaceFor *who)
{
	ParkedRow	gone = place_parked(ar, t, clash->row, version);
	Datum		key[INDEX_MAX_KEYS];

	Assert(version_cmp(version, who->version) <= 0);	/* a newer row keeps its place */
	place_key(t, clash->row, key);
	if (!place_hide(ar, t, &clash->row->tts_tid))
		return false;
	if (ar->merge)
		merge_table_park(ar->merge, ar->rel, key, clash->row, who->own);
	gone.index_id = clash->index_id;
	gone.blocked_by = stored_key(ar, t, by);
	(void) parked_store(ar->tombstones, key, &gone);
	if (who->parked)
		who->parked(ar, t, clash->row, &gone, by, who->version, who);
	return true;
}

/*
 * Checks the conflicting rows. Returns PLACE_TAKEN if one of them keeps its place; then fills
 * *parked with the new row, as blocked by the newest of those. Returns PLACE_FREE otherwise.
 */
static PlaceResult
place_look(ApplyRelation *ar, ApplyTarget *t, List *clashes, const Version *versions,
		   TupleTableSlot *row, const PlaceFor *who, ParkedRow *parked)
{
	int			newest = -1;
	Clash	   *winner;

	for (int i = 0; i < list_length(clashes); i++)
	{
		Clash	   *c = list_nth(clashes, i);

		if (!place_stays(ar, t, c->row, versions[i], row, who))
			continue;
		place_pin(ar, t, c->row, versions[i]);
		if (newest < 0 || version_cmp(versions[i], versions[newest]) > 0)
			newest = i;
	}
	if (newest < 0)
		return PLACE_FREE;
	Assert(version_cmp(versions[newest], who->version) >= 0);
	*parked = place_parked(ar, t, row, who->version);
	winner = list_nth(clashes, newest);
	parked->index_id = winner->index_id;
	parked->blocked_by = stored_key(ar, t, winner->row);
	if (who->parked)
		who->parked(ar, t, row, parked, winner->row, versions[newest], who);
	return PLACE_TAKEN;
}

/* Returns true if an earlier clash is with the same row, by another index. */
static bool
is_repeated(List *clashes, int i)
{
	Clash	   *c = list_nth(clashes, i);

	for (int k = 0; k < i; k++)
	{
		if (ItemPointerEquals(&c->row->tts_tid, &((Clash *) list_nth(clashes, k))->row->tts_tid))
			return true;
	}
	return false;
}

PlaceResult
place_take(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *row, const PlaceFor *who,
		   ParkedRow *parked)
{
	bool		busy;
	List	   *clashes;
	Version    *versions;
	PlaceResult result;

	Assert(ar->parking && ar->tombstones && session_in_row());
	write_generate(t, row);
	clashes = unique_clashes(t, row, who->wait, &busy);
	if (busy)
	{
		unique_clashes_free(clashes);
		return PLACE_BUSY;
	}
	if (who->clashes)
		*who->clashes += list_length(clashes);
	versions = palloc(Max(list_length(clashes), 1) * sizeof(Version));
	for (int i = 0; i < list_length(clashes); i++)
		versions[i] = place_version(ar, t, ((Clash *) list_nth(clashes, i))->row, who->own);
	result = place_look(ar, t, clashes, versions, row, who, parked);
	for (int i = 0; i < list_length(clashes) && result == PLACE_FREE; i++)
	{
		if (!is_repeated(clashes, i) &&
			!place_displace(ar, t, list_nth(clashes, i), versions[i], row, who))
			result = PLACE_AGAIN;
	}
	unique_clashes_free(clashes);
	return result;
}
