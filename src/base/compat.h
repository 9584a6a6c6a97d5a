/*
 * compat.h
 *		The differences between the supported PostgreSQL versions, and the version that the
 *		library is compiled for. No other file but compat.c reads PG_VERSION_NUM:
 *		`.ci/check_floors.pl`.
 *
 * Each block below is about one subject. It says since which version the subject differs, and why
 * the extension needs it. Where PostgreSQL has only renamed something, its name in version 15 stays
 * in use. Everything else has a name of its own, whose parameters are those that the extension
 * passes. Most of these are macros, so that this file needs no other header and version 15 pays
 * nothing for them; the caller includes the header of what it uses.
 */
#ifndef REPLICATION_PLUGIN_COMPAT_H
#define REPLICATION_PLUGIN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "replication_plugin needs PostgreSQL 15 or newer"
#endif

struct Bitmapset;
struct EState;
struct List;
struct Node;
struct RangeVar;
struct RangeTblEntry;
struct RelationData;
struct SnapshotData;

#define SERVER_VERSION_NUM		PG_VERSION_NUM	/* as the setting server_version_num shows it */
#define SERVER_MAJOR_VERSION	PG_MAJORVERSION	/* as text */

/* ---------- headers ---------- */

/* Since 16, postgres.h does not have the macros for values of variable length any more. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Since 19, headers that the extension includes do not include these any more. */
#if PG_VERSION_NUM >= 190000
#include "utils/lsyscache.h"	/* get_database_name() */
#include "utils/tuplestore.h"	/* was included by funcapi.h */
#include "utils/wait_classes.h" /* was included by storage/latch.h */
#endif

/*
 * A function that does not return is declared with pg_noreturn before its type. Since 18,
 * PostgreSQL has this name, and does not have the older one, which stood at the end.
 */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* ---------- text settings ---------- */

/* Since 16, the value of a text setting is not malloc()ed any more, but has these functions. */
#if PG_VERSION_NUM < 160000
#define guc_strdup(elevel, text)	strdup(text)
#define guc_free(text)				free(text)
#endif

/* ---------- functions that return sets ---------- */

/* PostgreSQL 15.0 has this function only under its first name. */
#if PG_VERSION_NUM < 150001
#define InitMaterializedSRF			SetSingleFuncCall
#define MAT_SRF_USE_EXPECTED_DESC	SRF_SINGLE_USE_EXPECTED
#define MAT_SRF_BLESS				SRF_SINGLE_BLESS
#endif

/* ---------- scans ---------- */

/*
 * Begins a scan of an index, of a whole table, or of a range of rows, or the fetching of rows by an
 * index. Since 18, a scan of an index takes a place for statistics; since 19, all take options.
 * Since 18, the snapshot must be registered or active as long as the scan uses it, if it is not
 * one of the special ones (dirty, self, any).
 */
#if PG_VERSION_NUM >= 190000
#define begin_index_scan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0, 0)
#elif PG_VERSION_NUM >= 180000
#define begin_index_scan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define begin_index_scan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif
#if PG_VERSION_NUM >= 190000
#define begin_table_scan(rel, snapshot) table_beginscan(rel, snapshot, 0, NULL, 0)
#define begin_range_scan(rel, snapshot, first, last) \
	table_beginscan_tidrange(rel, snapshot, first, last, 0)
#define begin_index_fetch(rel) table_index_fetch_begin(rel, 0)
#else
#define begin_table_scan(rel, snapshot) table_beginscan(rel, snapshot, 0, NULL)
#define begin_range_scan(rel, snapshot, first, last) \
	table_beginscan_tidrange(rel, snapshot, first, last)
#define begin_index_fetch(rel) table_index_fetch_begin(rel)
#endif

/*
 * Returns the latest snapshot for a scan that ends before this process takes another one, and ends
 * its use. Before 18, it is not registered, which would be a cost for each row that is looked for.
 */
#if PG_VERSION_NUM >= 180000
#define begin_latest_snapshot()		RegisterSnapshot(GetLatestSnapshot())
#define end_latest_snapshot(s)		UnregisterSnapshot(s)
#else
#define begin_latest_snapshot()		GetLatestSnapshot()
#define end_latest_snapshot(s)		((void) (s))
#endif

/*
 * Returns the snapshot with which TOAST tables are read. Before 18, it was made in space of the
 * caller.
 */
extern struct SnapshotData *toast_snapshot(struct SnapshotData *space);

/*
 * The strategy number of equality in column k of an index. Since 18, the index of a key WITHOUT
 * OVERLAPS is GiST, where each operator family has its own numbers; before, a key has a btree.
 */
#if PG_VERSION_NUM >= 180000
#define equality_strategy(index, k) \
	IndexAmTranslateCompareType(COMPARE_EQ, (index)->rd_rel->relam, (index)->rd_opfamily[k], false)
#else
#define equality_strategy(index, k) BTEqualStrategyNumber
#endif

/* ---------- writes to tables ---------- */

/*
 * What table_tuple_update() says of the new row's index entries. Since 16, it may be that only
 * summarizing indexes (BRIN) need some.
 */
#if PG_VERSION_NUM >= 160000
#define IndexUpdates				TU_UpdateIndexes
#define needs_index_entries(u)		((u) != TU_None)
#else
#define IndexUpdates				bool
#define needs_index_entries(u)		(u)
#endif

/*
 * Inserts the index entries of a row that was inserted, or of the new row of an update. Returns the
 * deferrable constraints that may be violated.
 */
#if PG_VERSION_NUM >= 190000
#define insert_index_entries(rri, slot, estate) \
	ExecInsertIndexTuples(rri, estate, 0, slot, NIL, NULL)
#define insert_index_entries_of_update(rri, slot, estate, u) \
	ExecInsertIndexTuples(rri, estate, \
						  EIIT_IS_UPDATE | ((u) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0), \
						  slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define insert_index_entries(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false)
#define insert_index_entries_of_update(rri, slot, estate, u) \
	ExecInsertIndexTuples(rri, slot, estate, true, false, NULL, NIL, (u) == TU_Summarizing)
#else
#define insert_index_entries(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#define insert_index_entries_of_update(rri, slot, estate, u) \
	ExecInsertIndexTuples(rri, slot, estate, true, false, NULL, NIL)
#endif

/*
 * Updates or deletes a row, waiting for other writers of it. Since 19, both take options, and
 * whether a delete moves the row to another partition is one of them.
 */
#if PG_VERSION_NUM >= 190000
#define update_tuple(rel, tid, slot, cid, failure, mode, updates) \
	table_tuple_update(rel, tid, slot, cid, 0, InvalidSnapshot, InvalidSnapshot, true, failure, \
					   mode, updates)
#define delete_tuple(rel, tid, cid, snapshot, failure) \
	table_tuple_delete(rel, tid, cid, 0, snapshot, InvalidSnapshot, true, failure)
#else
#define update_tuple(rel, tid, slot, cid, failure, mode, updates) \
	table_tuple_update(rel, tid, slot, cid, InvalidSnapshot, InvalidSnapshot, true, failure, \
					   mode, updates)
#define delete_tuple(rel, tid, cid, snapshot, failure) \
	table_tuple_delete(rel, tid, cid, snapshot, InvalidSnapshot, true, failure, false)
#endif

/*
 * Releases what inserting into an index has kept from row to row. Since 17, a BRIN index keeps
 * pinned pages in the IndexInfo. The pins belong to the transaction, so this is needed before its
 * end wherever an IndexInfo is used in more than one.
 */
#if PG_VERSION_NUM >= 170000
#define end_index_inserts(index, info) index_insert_cleanup(index, info)
#else
#define end_index_inserts(index, info) ((void) 0)
#endif

/* Prunes a page that the caller has pinned. Since 19, this needs a page of the visibility map. */
extern void prune_page(struct RelationData *rel, int buffer);

/* Since 16, TRUNCATE may run the triggers as the owner of the table; here it does not. */
#if PG_VERSION_NUM >= 160000
#define truncate_tables(rels, relids) \
	ExecuteTruncateGuts(rels, relids, NIL, DROP_RESTRICT, false, false)
#else
#define truncate_tables(rels, relids) ExecuteTruncateGuts(rels, relids, NIL, DROP_RESTRICT, false)
#endif

/*
 * Returns the table of REPACK (CONCURRENTLY), which is of 19, or NULL if a statement is another
 * one. This command copies each row by a new transaction, so that its xmin changes.
 */
extern struct RangeVar *concurrently_repacked(struct Node *statement);

/* ---------- executor ---------- */

/*
 * Gives an executor state the one table that it is for. written: numbers of the columns that count
 * as updated, less FirstLowInvalidHeapAttributeNumber. Since 16, these are no part of the entry of
 * the range table; since 18, the tables that are not pruned are listed too.
 */
extern void init_range_table(struct EState *estate, struct RangeTblEntry *rte,
							 struct Bitmapset *written);

/* Prepares to see rows again that were changed meanwhile. Since 16, it takes the result tables. */
#if PG_VERSION_NUM >= 160000
#define init_recheck(epq, estate) EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL)
#else
#define init_recheck(epq, estate) EvalPlanQualInit(epq, estate, NULL, NIL, -1)
#endif

/*
 * Runs the BEFORE triggers of a row that is to be updated or deleted; returns false if one has
 * suppressed the write. Since 16, these functions may also return the state of the row; since 18,
 * they are told whether MERGE is the command.
 */
#if PG_VERSION_NUM >= 180000
#define before_update_triggers(estate, epq, rri, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, rri, tid, NULL, slot, NULL, NULL, false)
#define before_delete_triggers(estate, epq, rri, tid) \
	ExecBRDeleteTriggers(estate, epq, rri, tid, NULL, NULL, NULL, NULL, false)
#elif PG_VERSION_NUM >= 160000
#define before_update_triggers(estate, epq, rri, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, rri, tid, NULL, slot, NULL, NULL)
#define before_delete_triggers(estate, epq, rri, tid) \
	ExecBRDeleteTriggers(estate, epq, rri, tid, NULL, NULL, NULL, NULL)
#else
#define before_update_triggers(estate, epq, rri, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, rri, tid, NULL, slot, NULL)
#define before_delete_triggers(estate, epq, rri, tid) \
	ExecBRDeleteTriggers(estate, epq, rri, tid, NULL, NULL)
#endif

/* ---------- permissions ---------- */

/*
 * The parameters and arguments of the hook for permissions. Since 16, the permissions that a
 * statement needs are in a list of their own, which entries of the range table refer to. Before,
 * they were in the entries; permissions is then NIL.
 */
#if PG_VERSION_NUM >= 160000
#define PERMS_HOOK_PARAMETERS	List *range_table, List *permissions, bool ereport_on_violation
#define PERMS_HOOK_ARGUMENTS	range_table, permissions, ereport_on_violation
#define PERMS_HOOK_LIST			permissions
#else
#define PERMS_HOOK_PARAMETERS	List *range_table, bool ereport_on_violation
#define PERMS_HOOK_ARGUMENTS	range_table, ereport_on_violation
#define PERMS_HOOK_LIST			NIL
#endif

/* Returns the permissions that a statement needs for a table of its range table. */
#if PG_VERSION_NUM >= 160000
extern uint64 required_permissions(const struct RangeTblEntry *rte, struct List *permissions);
#else
#define required_permissions(rte, permissions) ((rte)->requiredPerms)
#endif

/* Since 16, one function checks owners, and one rights, of objects of all classes. */
#if PG_VERSION_NUM >= 160000
#define pg_class_ownercheck(oid, role)		object_ownercheck(RelationRelationId, oid, role)
#define pg_namespace_ownercheck(oid, role)	object_ownercheck(NamespaceRelationId, oid, role)
#define pg_database_ownercheck(oid, role)	object_ownercheck(DatabaseRelationId, oid, role)
#define pg_extension_ownercheck(oid, role)	object_ownercheck(ExtensionRelationId, oid, role)
#define pg_namespace_aclcheck(nspoid, role, mode) \
	object_aclcheck(NamespaceRelationId, nspoid, role, mode)
#endif

/* ---------- catalogs ---------- */

/* Returns the functions of a name. Since 19, it also tells why there is none. */
#if PG_VERSION_NUM >= 190000
#define functions_of_name(names) \
	FuncnameGetCandidates(names, -1, NIL, false, false, false, true, &(int) {0})
#else
#define functions_of_name(names) FuncnameGetCandidates(names, -1, NIL, false, false, false, true)
#endif

/*
 * Returns the index of the primary key of a table, or InvalidOid. Since 18, the caller says whether
 * a deferrable key counts; here it does not, as before.
 */
#if PG_VERSION_NUM >= 180000
#define primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* The type whose values name databases is of 19; before, no type has its OID. */
#if PG_VERSION_NUM < 190000
#define REGDATABASEOID 6490
#endif

/* Since 18, a generated column may be virtual: it has no value in the row. */
#if PG_VERSION_NUM >= 180000
#define has_virtual_columns(desc)	((desc)->constr && (desc)->constr->has_generated_virtual)
#else
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#define has_virtual_columns(desc)	((void) (desc), false)
#define build_generation_expression(rel, attnum) ((void) (rel), (void) (attnum), (Node *) NULL)
#endif

/* ---------- replication origins ---------- */

/*
 * Since 19, the type and the invalid value have other names, and what was three variables is one
 * struct.
 */
#if PG_VERSION_NUM >= 190000
#define RepOriginId							ReplOriginId
#define InvalidRepOriginId					InvalidReplOriginId
#define replorigin_session_origin			(replorigin_xact_state.origin)
#define replorigin_session_origin_lsn		(replorigin_xact_state.origin_lsn)
#define replorigin_session_origin_timestamp	(replorigin_xact_state.origin_timestamp)
#endif

/*
 * Acquires the replication state of an origin. Since 16, processes may share it, if the second one
 * says who has acquired it; the extension's processes never share it.
 */
#if PG_VERSION_NUM >= 160000
#define session_setup_origin(origin) replorigin_session_setup(origin, 0)
#else
#define session_setup_origin(origin) replorigin_session_setup(origin)
#endif

/*
 * Whether the record of an abort advances the progress of the acquired origin, as that of a commit
 * does: since 16 (shared/origin_mark.c).
 */
#if PG_VERSION_NUM >= 160000
#define ABORT_ADVANCES_ORIGIN	true
#else
#define ABORT_ADVANCES_ORIGIN	false
#endif

/* How many origins can have a progress. Since 18, this limit is a setting of its own. */
#if PG_VERSION_NUM >= 180000
#define most_origins max_active_replication_origins
#else
#define most_origins max_replication_slots
#endif

/* ---------- decoding ---------- */

/* The tuple of a decoded change, which has one. Before 17, it was within a struct. */
#if PG_VERSION_NUM >= 170000
#define decoded_tuple(t) (t)
#else
#define decoded_tuple(t) (&(t)->tuple)
#endif

/*
 * The least setting of wal_level with which a server can decode. Since 19, a server with "replica"
 * writes what decoding needs while it has a logical slot.
 */
#if PG_VERSION_NUM >= 190000
#define LEAST_WAL_LEVEL WAL_LEVEL_REPLICA
#else
#define LEAST_WAL_LEVEL WAL_LEVEL_LOGICAL
#endif

/* The time of commit of a decoded transaction. Before 19, it was in a union. */
#if PG_VERSION_NUM >= 190000
#define decoded_commit_time(txn) ((txn)->commit_time)
#else
#define decoded_commit_time(txn) ((txn)->xact_time.commit_time)
#endif

/* Writes a message for decoding. Since 17, it can be flushed at once, which nothing here needs. */
#if PG_VERSION_NUM >= 170000
#define log_message(prefix, content, len, transactional) \
	LogLogicalMessage(prefix, content, len, transactional, false)
#else
#define log_message(prefix, content, len, transactional) \
	LogLogicalMessage(prefix, content, len, transactional)
#endif

/* ---------- transactions and processes ---------- */

/* The oldest running transaction. Since 19, the caller says of which databases. */
#if PG_VERSION_NUM >= 190000
#define oldest_active_xid() GetOldestActiveTransactionId(false, true)
#else
#define oldest_active_xid() GetOldestActiveTransactionId()
#endif

/* The oldest transaction that has a commit timestamp, under CommitTsLock. 17 renamed the struct. */
#if PG_VERSION_NUM >= 170000
#define oldest_commit_ts_xid() (TransamVariables->oldestCommitTsXid)
#else
#define oldest_commit_ts_xid() (ShmemVariableCache->oldestCommitTsXid)
#endif

/*
 * The number of this process among all, from 0 on, and that of its current transaction among its
 * own. 17 moved both.
 */
#if PG_VERSION_NUM >= 170000
#define own_proc_number()	MyProcNumber
#define own_local_xid()		(MyProc->vxid.lxid)
#else
#define own_proc_number()	(MyProc->pgprocno)
#define own_local_xid()		(MyProc->lxid)
#endif

/* The state of a process, by its place in the list of all. 16 renamed the function. */
#if PG_VERSION_NUM >= 160000
#define backend_state(i) pgstat_get_local_beentry_by_index(i)
#else
#define backend_state(i) pgstat_fetch_stat_local_beentry(i)
#endif

/*
 * The flags of the extension's workers. Since 19, PostgreSQL can end them when their database is
 * dropped, renamed, moved or copied, if they say so.
 */
#if PG_VERSION_NUM >= 190000
#define OWN_WORKER_FLAGS \
	(BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION | BGWORKER_INTERRUPTIBLE)
#else
#define OWN_WORKER_FLAGS (BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION)
#endif

/* ---------- locks ---------- */

/*
 * Names the tranche of a lock. Since 19, the name is given when the tranche is created, and all
 * processes see it; before, each process registered it.
 */
#if PG_VERSION_NUM >= 190000
#define init_named_lock(lock, name)		LWLockInitialize(lock, LWLockNewTrancheId(name))
#define register_named_lock(lock, name)	((void) 0)
#else
#define init_named_lock(lock, name)		LWLockInitialize(lock, LWLockNewTrancheId())
#define register_named_lock(lock, name)	LWLockRegisterTranche((lock)->tranche, name)
#endif

/*
 * Whether this process holds locks in one partition of the lock table, and one of a type. The
 * caller of holds_lock_of_type() has locked the partition. Without that, may_hold_locks() is exact
 * only if nobody else can add locks of this process there. Since 16, the list is of another type.
 */
extern bool may_hold_locks(int partition);
extern bool holds_lock_of_type(int partition, int locktag_type);

/* ---------- settings ---------- */

/*
 * The settings of the server. Since 16, one function returns them with their number. Since 19, the
 * fields that depend on the type of a setting are in a union, and not around what all have.
 */
extern struct config_generic **server_settings(int *n);
#if PG_VERSION_NUM >= 190000
#define bool_setting(s)		(&(s)->_bool)
#define enum_setting(s)		(&(s)->_enum)
#define string_setting(s)	(&(s)->_string)
#else
#define bool_setting(s)		((struct config_bool *) (s))
#define enum_setting(s)		((struct config_enum *) (s))
#define string_setting(s)	((struct config_string *) (s))
#endif

/* ---------- jsonb ---------- */

/* Builds a jsonb value, token by token. Since 19, PostgreSQL has such a struct. */
#if PG_VERSION_NUM >= 190000
#define JsonbBuilder					JsonbInState
#define jsonb_push(b, token, value)		pushJsonbValue(b, token, value)
#else
typedef struct JsonbBuilder
{
	struct JsonbParseState *state;
	struct JsonbValue *result;	/* when the last token has closed the outermost value */
} JsonbBuilder;
#define jsonb_push(b, token, value) \
	((void) ((b)->result = pushJsonbValue(&(b)->state, token, value)))
#endif
#define jsonb_built(b) JsonbValueToJsonb((b)->result)

#endif							/* REPLICATION_PLUGIN_COMPAT_H */
