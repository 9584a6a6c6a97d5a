/*
 * compat.c
 *		What differs between PostgreSQL versions and is too long for a macro.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/toast_internals.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "parser/parse_relation.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/snapshot.h"

#include "base/compat.h"

/* ---------- scans ---------- */

Snapshot
toast_snapshot(SnapshotData *space)
{
#if PG_VERSION_NUM >= 180000
	return get_toast_snapshot();
#else
	init_toast_snapshot(space);
	return space;
#endif
}

/* ---------- writes to tables ---------- */

void
prune_page(Relation rel, Buffer buffer)
{
#if PG_VERSION_NUM >= 190000
	Buffer		map = InvalidBuffer;

	heap_page_prune_opt(rel, buffer, &map, false);
	if (BufferIsValid(map))
		ReleaseBuffer(map);
#else
	heap_page_prune_opt(rel, buffer);
#endif
}

RangeVar *
concurrently_repacked(Node *statement)
{
#if PG_VERSION_NUM >= 190000
	RepackStmt *repack = (RepackStmt *) statement;
	bool		concurrently = false;
	ListCell   *lc;

	if (!IsA(statement, RepackStmt) || !repack->relation)
		return NULL;
	foreach(lc, repack->params)
	{
		if (strcmp(((DefElem *) lfirst(lc))->defname, "concurrently") == 0)
			concurrently = defGetBoolean(lfirst(lc));
	}
	return concurrently ? repack->relation->relation : NULL;
#else
	return NULL;
#endif
}

/* ---------- executor ---------- */

void
init_range_table(EState *estate, RangeTblEntry *rte, Bitmapset *written)
{
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *permissions = makeNode(RTEPermissionInfo);

	permissions->relid = rte->relid;
	permissions->inh = rte->inh;
	permissions->updatedCols = written;
	rte->perminfoindex = 1;
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), list_make1(permissions), bms_make_singleton(1));
#else
	ExecInitRangeTable(estate, list_make1(rte), list_make1(permissions));
#endif
#else
	rte->updatedCols = written;
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* ---------- permissions ---------- */

#if PG_VERSION_NUM >= 160000
AclMode
required_permissions(const RangeTblEntry *rte, List *permissions)
{
	if (rte->perminfoindex == 0)
		return 0;
	return getRTEPermissionInfo(permissions, unconstify(RangeTblEntry *, rte))->requiredPerms;
}
#endif

/* ---------- locks ---------- */

bool
may_hold_locks(int partition)
{
#if PG_VERSION_NUM >= 160000
	return !dlist_is_empty(&MyProc->myProcLocks[partition]);
#else
	return !SHMQueueEmpty(&MyProc->myProcLocks[partition]);
#endif
}

bool
holds_lock_of_type(int partition, int locktag_type)
{
#if PG_VERSION_NUM >= 160000
	dlist_iter	iter;

	dlist_foreach(iter, &MyProc->myProcLocks[partition])
	{
		PROCLOCK   *l = dlist_container(PROCLOCK, procLink, iter.cur);

		if (l->tag.myLock->tag.locktag_type == locktag_type)
			return true;
	}
#else
	SHM_QUEUE  *held = &MyProc->myProcLocks[partition];

	for (PROCLOCK *l = (PROCLOCK *) SHMQueueNext(held, held, offsetof(PROCLOCK, procLink)); l;
		 l = (PROCLOCK *) SHMQueueNext(held, &l->procLink, offsetof(PROCLOCK, procLink)))
	{
		if (l->tag.myLock->tag.locktag_type == locktag_type)
			return true;
	}
#endif
	return false;
}

/* ---------- settings ---------- */

struct config_generic **
server_settings(int *n)
{
#if PG_VERSION_NUM >= 160000
	return get_guc_variables(n);
#else
	*n = GetNumConfigOptions();
	return get_guc_variables();
#endif
}
