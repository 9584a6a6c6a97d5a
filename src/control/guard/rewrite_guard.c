/*
 * rewrite_guard.c
 *		Finds commands that rewrite the rows of replicated tables.
 *
 * ALTER TABLE may rewrite a table for a column's type, a new column, or another persistence.
 * Whether it does so is known when it creates the table's new storage. At that moment, before any
 * row is copied, the versions of the rows are collected (store/rewrite.h). VACUUM FULL and CLUSTER
 * create new storage as well, but keep xmin, so they are ignored.
 *
 * pg_repack copies a table's rows into a table of its own (repack.table_OID), in several
 * transactions, and gives that storage to the table in a transaction that holds an ACCESS EXCLUSIVE
 * lock on it. Therefore versions are collected when that lock is taken, and stored at its COMMIT.
 *
 * REPACK (CONCURRENTLY), of PostgreSQL 19, changes xmin as well, and lets others write meanwhile. It
 * is refused for tables of which the versions are needed.
 *
 * What was written to a table while it was unlogged is not in the WAL, so no other node has it.
 * When the table is logged again and is not empty, it is marked out of step.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/session.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "control/guard/rewrite_guard.h"
#include "store/rewrite.h"

static const char insert_out_of_step_sql[] =
	"INSERT INTO " EXTENSION_SCHEMA ".out_of_step (schema_name, table_name, node_id, lsn, what)"
	" VALUES ($1, $2, $3, $4, 'what was written to the table while it was unlogged')";

/* What an ALTER TABLE may rewrite. */
typedef struct Altering
{
	List	   *tables;			/* of Rewriting * */
	List	   *unlogged;		/* of Oid: unlogged tables */
	struct Altering *outer;		/* the command that runs this one */
} Altering;

static Altering *current = NULL;

/* A table that pg_repack has locked in the current transaction. */
static struct
{
	LocalTransactionId transaction;
	Rewriting  *rewriting;		/* in TopTransactionContext */
} repacking;

/* Returns true if a command may rewrite rows. */
static bool
may_rewrite(const AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objtype == OBJECT_TABLE ? stmt->cmds : NIL)
	{
		switch (((AlterTableCmd *) lfirst(lc))->subtype)
		{
			case AT_AlterColumnType:
			case AT_AddColumn:
			case AT_SetLogged:
			case AT_SetUnLogged:
			case AT_SetAccessMethod:
				return true;
			default:
				break;
		}
	}
	return false;
}

/* Prepares for the rewrite of one table. */
static void
prepare_table(Altering *a, Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	Rewriting  *r = rewrite_prepare(rel);

	if (r)
		a->tables = lappend(a->tables, r);
	if (rel->rd_rel->relkind == RELKIND_RELATION &&
		rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		a->unlogged = lappend_oid(a->unlogged, relid);
	table_close(rel, NoLock);
}

/* Prepares for a command. Takes the locks that the command takes. */
static void
rewrite_guard_prepare(Altering *a, AlterTableStmt *stmt)
{
	LOCKMODE	lockmode = AlterTableGetLockLevel(stmt->cmds);
	Oid			relid = AlterTableLookupRelation(stmt, lockmode);
	ListCell   *lc;

	if (!OidIsValid(relid))
		return;
	foreach (lc, stmt->relation->inh ? find_all_inheritors(relid, lockmode, NULL)
									 : list_make1_oid(relid))
		prepare_table(a, lfirst_oid(lc));
}

/*
 * Returns the table for which a relation was created as new storage, or InvalidOid if it is none.
 */
static Oid
rewritten_table(Oid relid)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	result = HeapTupleIsValid(tuple) ? ((Form_pg_class) GETSTRUCT(tuple))->relrewrite : InvalidOid;
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

/* Hook function for objects: collects versions just before rows are copied. */
void
rewrite_guard_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	Oid			relid;
	ListCell   *lc;

	Assert(access == OAT_POST_CREATE);
	if (!current || current->tables == NIL || class != RelationRelationId || subid != 0)
		return;
	relid = rewritten_table(object);
	foreach(lc, OidIsValid(relid) ? current->tables : NIL)
	{
		if (rewrite_relid(lfirst(lc)) == relid)
			rewrite_collect(lfirst(lc));
	}
}

/* Returns true if a table has rows. */
static bool
has_rows(Relation rel)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = begin_table_scan(rel, snapshot);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	bool		result = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/* Marks a table out of step on all nodes, with the rights of a superuser. */
static void
mark_out_of_step(Relation rel)
{
	Relation	root = table_open(table_root(RelationGetRelid(rel)), AccessShareLock);
	Oid			types[4] = {TEXTOID, TEXTOID, INT4OID, LSNOID};
	Datum		args[4];
	Oid			user;
	int			security,
				nest;

	args[0] = CStringGetTextDatum(get_namespace_name(RelationGetNamespace(root)));
	args[1] = CStringGetTextDatum(RelationGetRelationName(root));
	args[2] = Int32GetDatum(nodes_local_id());
	args[3] = LSNGetDatum(GetXLogInsertRecPtr());
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	nest = session_sql_begin();
	if (SPI_execute_with_args(insert_out_of_step_sql,
							  4, types, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not mark a table out of step");
	session_sql_end(nest);
	SetUserIdAndSecContext(user, security);
	ereport(NOTICE,
			(errmsg("rows of table \"%s\" may be missing on other nodes, as it was unlogged", RelationGetRelationName(root)),
			 errhint("When it is logged on all nodes: SELECT replication_plugin.resend_table('%s') on the node whose rows are right.",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(root)), RelationGetRelationName(root)))));
	table_close(root, AccessShareLock);
}

/*
 * Marks a table out of step if it has changed from unlogged to logged and has rows, which other
 * nodes may lack.
 */
static void
note_logged(Oid relid)
{
	Relation	rel = try_relation_open(relid, NoLock);

	if (!rel)
		return;
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT && table_is_replicated(rel) &&
		has_rows(rel))
		mark_out_of_step(rel);
	relation_close(rel, NoLock);
}

/* Stores what a command has done. */
static void
rewrite_guard_note(Altering *a)
{
	ListCell   *lc;

	foreach(lc, a->tables)
		rewrite_note(lfirst(lc));
	foreach(lc, a->unlogged)
		note_logged(lfirst_oid(lc));
}

/* Returns true if pg_repack has a copy of the table's rows. */
static bool
is_repacked(Oid relid)
{
	Oid			nspoid = get_namespace_oid(REPACK_SCHEMA, true);

	return OidIsValid(nspoid) && OidIsValid(get_relname_relid(psprintf("table_%u", relid), nspoid));
}

/*
 * Collects versions of a table that was locked in ACCESS EXCLUSIVE mode, if pg_repack is at work on
 * it: the table may be about to get other storage.
 */
static void
note_lock(const LockStmt *stmt)
{
	Oid			relid = RangeVarGetRelid(linitial(stmt->relations), NoLock, true);
	MemoryContext old;
	Relation	rel;

	if (!OidIsValid(relid) || !is_repacked(relid))
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	rel = table_open(relid, NoLock);
	repacking.rewriting = rewrite_prepare(rel);
	repacking.transaction = own_local_xid();
	table_close(rel, NoLock);
	if (repacking.rewriting)
		rewrite_collect(repacking.rewriting);
	MemoryContextSwitchTo(old);
}

/* Stores versions before COMMIT, as the table may have other storage by now. */
static void
note_commit(void)
{
	if (!repacking.rewriting || repacking.transaction != own_local_xid() ||
		IsAbortedTransactionBlockState())
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) rewrite_note_swapped(repacking.rewriting);
	PopActiveSnapshot();
	repacking.rewriting = NULL;
}

/* Returns true for LOCK TABLE of one table in ACCESS EXCLUSIVE mode. */
static bool
locks_one_table(Node *statement)
{
	LockStmt   *lock = (LockStmt *) statement;

	return IsA(statement, LockStmt) && lock->mode == AccessExclusiveLock &&
		   list_length(lock->relations) == 1;
}

/* Returns true if this database stores versions of rewritten rows. */
static bool
keeps_rewrites(void)
{
	return nodes_local_id() != INVALID_NODE_ID &&
		OidIsValid(extension_relation_oid(TABLE_TABLE_REWRITE));
}

/* Runs an ALTER TABLE that may rewrite rows. */
static void
run_altering(const UtilityCommand *command)
{
	Altering	altering = {.outer = current};

	rewrite_guard_prepare(&altering, (AlterTableStmt *) command->pstmt->utilityStmt);
	PG_TRY();
	{
		current = &altering;
		utility_next(command);
	}
	PG_FINALLY();
	{
		Assert(current == &altering);	/* nested commands have restored it */
		current = altering.outer;
	}
	PG_END_TRY();
	rewrite_guard_note(&altering);
}

/* Refuses REPACK (CONCURRENTLY) of a table whose rows must keep their versions. */
static void
refuse_repack(const RangeVar *table)
{
	Oid			relid = RangeVarGetRelid(table, AccessShareLock, true);
	Relation	rel = OidIsValid(relid) ? try_relation_open(relid, NoLock) : NULL;

	if (!rel)
		return;
	if (rewrite_prepare(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" cannot be repacked concurrently: it is replicated, and its rows would lose their versions", RelationGetRelationName(rel)),
				 errhint("REPACK without CONCURRENTLY keeps them, and so do VACUUM FULL and CLUSTER.")));
	relation_close(rel, AccessShareLock);
}

/* Hook function for commands. */
void
rewrite_guard_command(const UtilityCommand *command)
{
	Node	   *stmt = command->pstmt->utilityStmt;
	RangeVar   *repacked = concurrently_repacked(stmt);

	if (utility_is_transaction(command, TRANS_STMT_COMMIT))
		note_commit();
	if (repacked && keeps_rewrites())
		refuse_repack(repacked);
	if (IsA(stmt, AlterTableStmt) && may_rewrite((AlterTableStmt *) stmt) && keeps_rewrites())
	{
		run_altering(command);
		return;
	}
	utility_next(command);
	if (locks_one_table(stmt) && keeps_rewrites())
		note_lock((LockStmt *) stmt);
}
