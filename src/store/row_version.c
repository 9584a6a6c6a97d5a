/*
 * row_version.c
 *		Derives the version of a stored row from PostgreSQL's own commit data.
 *
 * Nothing is stored beside a user's row. The raw xmin gives the commit timestamp and the
 * replication origin of the transaction that wrote the row, and the origin gives the node. The raw
 * xmin is used for frozen rows as well: while the commit data exists, freezing must not change the
 * outcome of a conflict.
 *
 * Invariant: the result depends only on the writing transaction, so every node that has a row gives
 * it the same version. The exception is VERSION_OLDEST, for rows that are older than anything that
 * can still arrive. These are copied rows, and all rows from before the database became a member,
 * whatever their origin, because origin numbers may have belonged to other nodes then.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/lmgr.h"

#include "base/compat.h"
#include "base/full_xid.h"
#include "catalog/nodes.h"
#include "shared/origin_map.h"
#include "store/rewrite_known.h"
#include "store/row_version.h"

/*
 * Returns true if a transaction is from before this database became a member, or from the server of
 * which it is a physical copy.
 */
static bool
is_older_than_member(TransactionId xmin)
{
	uint64		since = nodes_local_since_xid();

	return since != 0 && full_xid_of(xmin) < since;
}

/*
 * Returns the member that wrote a transaction, if this database is a physical copy of that member's
 * server; otherwise INVALID_NODE_ID.
 */
static NodeId
copied_from(TransactionId xmin)
{
	uint64		since;
	NodeId		node = nodes_local_copy_of(&since);

	return full_xid_of(xmin) >= since ? node : INVALID_NODE_ID;
}

/* Looks up a transaction in the commit timestamp data. */
static Version
lookup_version(TransactionId xmin)
{
	TimestampTz ts;
	RepOriginId origin;
	NodeId		node,
				writer;

	if (!TransactionIdGetCommitTsData(xmin, &ts, &origin))
		return VERSION_OLDEST;
	if (origin == DoNotReplicateId)
	{
		/* its timestamp is being corrected (commit_stamp.c), or recovery has read the right one */
		XactLockTableWait(xmin, NULL, NULL, XLTW_None);
		(void) TransactionIdGetCommitTsData(xmin, &ts, &origin);
	}
	origin_map_ensure_loaded();
	node = origin_map_node(origin);
	if (node == ORIGIN_NODE_REPAIR)
		return VERSION_OLDEST;
	writer = is_older_than_member(xmin) ? copied_from(xmin) : nodes_local_id();
	if (writer == INVALID_NODE_ID)
		return VERSION_OLDEST;	/* other members have the row as a copied row */
	return (Version) {ts, node == ORIGIN_NODE_LOCAL ? writer : node};
}

Version
row_version(TransactionId xmin, Version own)
{
	static TransactionId cached_xmin = InvalidTransactionId;
	static uint64 cached_generation;
	static Version cached;

	if (!TransactionIdIsNormal(xmin))
		return VERSION_OLDEST;
	if (TransactionIdIsCurrentTransactionId(xmin))
		return own;

	/*
	 * The data of a committed transaction does not change before its xid is reused, and by then
	 * this function has been called for billions of other transactions.
	 */
	if (xmin != cached_xmin || origin_map_generation() != cached_generation)
	{
		cached_xmin = InvalidTransactionId;
		cached = lookup_version(xmin);
		cached_xmin = xmin;
		cached_generation = origin_map_generation();
	}
	return cached;
}

Version
row_version_of_slot(TupleTableSlot *slot, Version own)
{
	bool		isnull;
	TransactionId xmin =
		DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));
	CommandId cmin = DatumGetCommandId(slot_getsysattr(slot, MinCommandIdAttributeNumber, &isnull));

	if (rewrite_is_known(slot->tts_tableOid, xmin, cmin))
		return VERSION_OLDEST;
	return row_version(xmin, own);
}
