/*
 * deleted.c
 *		Applies puts of rows of which a delete is remembered.
 */
#include "postgres.h"

#include "apply/context.h"
#include "apply/deleted.h"
#include "apply/place.h"
#include "base/compat.h"
#include "store/tombstone.h"

bool
deleted_allows_put(ApplyRelation *ar, const Datum *key, TupleTableSlot *row, ConflictKind missing)
{
	Version		deleted;

	Assert(ar->cx->active && ar->nkeys > 0);
	if (!ar->tombstones || !tombstone_find(ar->tombstones, key, ar->cx->version, &deleted))
	{
		/* neither a row nor a tombstone is known */
		if (missing == CONFLICT_UPDATE_MISSING)
			apply_conflict(ar, missing, RESOLUTION_APPLY_REMOTE, NULL, VERSION_OLDEST, row, NULL);
		return true;
	}
	if (ar->cx->mode.kept && version_is_oldest(deleted))
		place_refuse_unknown(ar);
	if (!apply_wins(ar->cx, deleted))
	{
		apply_conflict(ar, CONFLICT_UPDATE_DELETED, RESOLUTION_KEEP_LOCAL, NULL, deleted, row,
					   NULL);
		return false;
	}
	if (!apply_was_seen(ar->cx, deleted))
		apply_conflict(ar, CONFLICT_UPDATE_DELETED, RESOLUTION_APPLY_REMOTE, NULL, deleted, row,
					   NULL);
	return true;
}
