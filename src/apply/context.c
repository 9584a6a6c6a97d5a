/*
 * context.c
 *		Decides what the current transaction may replace, and records its conflicts.
 */
#include "postgres.h"

#include "apply/context.h"
#include "base/compat.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"

bool
apply_wins(const ApplyContext *cx, Version local)
{
	Assert(cx->active && cx->version.node == cx->begin.origin);
	/* A kept change may have been kept under another table name, and so may come late. */
	return (local.node == cx->version.node && !cx->mode.kept) ||
		   version_cmp(cx->version, local) >= 0;
}

bool
apply_was_seen(const ApplyContext *cx, Version local)
{
	Assert(cx->version.node == cx->begin.origin);
	if (version_is_oldest(local) || local.node == cx->begin.origin || cx->mode.source_decides)
		return true;
	Assert(cx->seen);
	return local.ts <= frontier_ts(cx->seen, local.node);
}

void
apply_refuse_twin(ApplyRelation *ar, Version local)
{
	Assert(ar->nkeys > 0);		/* the key found the other row */
	if (ar->keyless_there && !ar->cx->mode.source_decides && apply_was_seen(ar->cx, local))
		relation_key_differs(ar);
}

void
apply_conflict(ApplyRelation *ar, ConflictKind type, ConflictResolution resolution,
			   TupleTableSlot *local_row, Version local_version,
			   TupleTableSlot *remote_row, TupleTableSlot *key_row)
{
	Conflict	conflict = {
		.type = type,.resolution = resolution,.rel = ar->rel,
		.local_row = local_row,.local_version = local_version,
		.remote_row = remote_row,.remote_version = ar->cx->version,
		.remote_present = remote_row == ar->root_slot ? ar->present : NULL,
		.key_row = key_row,.concurrent = !apply_was_seen(ar->cx, local_version),
		.policy = policy_name(ar->merge ? ar->merge->policy.policy : POLICY_LAST_WRITE_WINS)
	};

	Assert(ar->cx->active && ar->rel);
	if (!ar->cx->mode.source_decides && !table_is_own_replicated(ar->rel))
		conflict_record(&conflict);
}
