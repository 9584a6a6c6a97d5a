/*
 * context.c
 *		The transaction that is being applied: what it may replace, and what its conflicts are.
 */
#include "postgres.h"

#include "apply/context.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"

ApplyState	apply;

bool
apply_wins(Version local)
{
	/* what is kept may have been kept under another name, and so come late */
	return (local.node == apply.version.node && !apply.mode.kept) || version_cmp(apply.version, local) >= 0;
}

bool
apply_was_seen(Version local)
{
	if (version_is_oldest(local) || local.node == apply.begin.origin || apply.mode.source_decides)
		return true;
	return local.ts <= frontier_ts(apply.seen, local.node);
}

void
apply_refuse_twin(ApplyRelation *ar, Version local)
{
	if (ar->keyless_there && !apply.mode.source_decides && apply_was_seen(local))
		relation_key_differs(ar);
}

void
apply_conflict(ApplyRelation *ar, ConflictType type, ConflictResolution resolution,
			   TupleTableSlot *local_row, Version local_version,
			   TupleTableSlot *remote_row, TupleTableSlot *key_row)
{
	Conflict	conflict = {
		.type = type,.resolution = resolution,.rel = ar->rel,
		.local_row = local_row,.local_version = local_version,
		.remote_row = remote_row,.remote_version = apply.version,
		.remote_present = remote_row == ar->root_slot ? ar->present : NULL,
		.key_row = key_row,.concurrent = !apply_was_seen(local_version),
		.policy = policy_name(ar->merge ? ar->merge->policy.policy : POLICY_LAST_WRITE_WINS)
	};

	if (!apply.mode.source_decides && !table_is_own_replicated(ar->rel))
		conflict_record(&conflict);
}
