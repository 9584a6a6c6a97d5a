/*
 * relation.c
 *		Maps relations of the provider to local tables.
 *
 * Tables correspond by schema and name, columns by name. A column that the provider does not have
 * gets its default here. A column that is missing here stops the link with an error that names it,
 * because values must not be lost. The key must have the same columns on both sides; otherwise rows
 * of the two nodes could not be identified with each other.
 *
 * Relation messages are kept as they arrived, across errors and retries of a transaction. The
 * mapping to the local table is rebuilt after an invalidation.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "executor/execPartition.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "apply/context.h"
#include "apply/relation.h"
#include "base/compat.h"
#include "base/session.h"
#include "catalog/as_owner.h"
#include "catalog/exclusion.h"
#include "catalog/table_code.h"
#include "catalog/table_info.h"
#include "store/parked.h"

/* Limit of tables whose mappings are kept; bounds the memory of a process that sees very many. */
#define MOST_MAPPED	1000

/* The relations of one context. */
struct Relations
{
	HTAB	   *sets[2];		/* descriptions by relation id, for each RelationSet */
	RelationSet in_use;
	List	   *open;			/* in this transaction */
	List	   *routings;		/* in this transaction */
	int			mapped;			/* relations mapped since all maps were last discarded */
};

/* Tuple routing of one partitioned table in one transaction. */
typedef struct Routing
{
	ApplyRelation *rel;
	EState	   *estate;
	ModifyTableState *mtstate;
	ResultRelInfo *rri;
	PartitionTupleRouting *proute;
} Routing;

/* Calls a function for every description of a context, of both sets. */
static void
for_all(struct Relations *rs, void (*what) (ApplyRelation *, Oid), Oid arg)
{
	for (int i = 0; i < lengthof(rs->sets); i++)
	{
		HASH_SEQ_STATUS seq;
		ApplyRelation *ar;

		if (!rs->sets[i])
			continue;
		hash_seq_init(&seq, rs->sets[i]);
		while ((ar = hash_seq_search(&seq)) != NULL)
			what(ar, arg);
	}
}

/*
 * Invalidates the map of a relation if it depends on the local relation relid; InvalidOid stands
 * for all relations.
 */
static void
invalidate_one(ApplyRelation *ar, Oid relid)
{
	if (relid == InvalidOid || ar->relid == relid || ar->key_index == relid)
		ar->valid = false;
}

/* Relcache callback of a context. */
static void
relation_invalidate(Datum arg, Oid relid)
{
	for_all((struct Relations *) DatumGetPointer(arg), invalidate_one, relid);
}

void
relations_create(ApplyContext *cx)
{
	Assert(!cx->relations);
	cx->relations = MemoryContextAllocZero(TopMemoryContext, sizeof(struct Relations));
	/* the relations are never freed; a process has one context, or very few */
	CacheRegisterRelcacheCallback(relation_invalidate, PointerGetDatum(cx->relations));
}

/* Creates an empty hash table of relations. */
static HTAB *
create_table_of_relations(void)
{
	HASHCTL		ctl = {.keysize = sizeof(uint32),.entrysize = sizeof(ApplyRelation)};

	ctl.hcxt = TopMemoryContext;
	return hash_create("apply relations", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
relation_use(ApplyContext *cx, RelationSet set)
{
	cx->relations->in_use = set;
}

RelationSet
relation_in_use(ApplyContext *cx)
{
	return cx->relations->in_use;
}

/* Returns the relation with a relation id of the set in use, or NULL if none was described. */
static ApplyRelation *
relation_find(ApplyContext *cx, uint32 remote_id)
{
	HTAB	   *set = cx->relations->sets[cx->relations->in_use];

	return set ? hash_search(set, &remote_id, HASH_FIND, NULL) : NULL;
}

/* Stores a description, whose memory is context. */
static void
relation_keep(ApplyContext *cx, WireRelation remote, MemoryContext context)
{
	HTAB	  **set = &cx->relations->sets[cx->relations->in_use];
	ApplyRelation *ar;
	bool		found;

	if (!*set)
		*set = create_table_of_relations();
	ar = hash_search(*set, &remote.relid, HASH_ENTER, &found);
	if (found)
	{
		/*
		 * When the transaction arrives again, keep what is known of a table with the same id and
		 * name.
		 */
		ar->passed_over = ar->passed_over && strcmp(ar->remote.nspname, remote.nspname) == 0 &&
			strcmp(ar->remote.relname, remote.relname) == 0;
		MemoryContextDelete(ar->remote_context);
	}
	else
		memset((char *) ar + sizeof(uint32), 0, sizeof(ApplyRelation) - sizeof(uint32));
	MemoryContextSetParent(context, TopMemoryContext);
	ar->cx = cx;
	ar->remote_context = context;
	ar->remote = remote;
	ar->kept_in = ar->free_in = 0;
	ar->valid = false;
}

/*
 * Creates the memory context of a description. It is a child of the current context until the
 * description is stored.
 */
static MemoryContext
description_context(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "remote relation", ALLOCSET_SMALL_SIZES);
}

void
relation_store(ApplyContext *cx, WireReader *r)
{
	MemoryContext context = description_context();
	MemoryContext old = MemoryContextSwitchTo(context);
	WireRelation remote;

	wire_read_relation(r, &remote);
	MemoryContextSwitchTo(old);
	relation_keep(cx, remote, context);
}

void
relation_store_kept(ApplyContext *cx, WireReader *r, uint32 relid)
{
	WireReader	start = *r;
	StringInfoData known;
	WireRelation remote;
	ApplyRelation *ar;

	Assert(relation_in_use(cx) == RELATIONS_KEPT);
	if (r->len == 0)
		return;					/* the same description as with the change before */
	if (wire_read_type(r) != WIRE_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a kept change does not begin with the description of its table")));
	wire_read_relation(r, &remote);
	ar = relation_find(cx, remote.relid);
	/* a table that was passed over was gone; this is another table of the same name */
	if (ar && ar->kept_relid != relid)
		ar->passed_over = false;
	if (ar)
	{
		ar->kept_relid = relid;
		/* mostly the description is the same as with the change before */
		initStringInfo(&known);
		wire_write_relation(&known, &ar->remote);
		if (known.len == start.len && memcmp(known.data, start.data, start.len) == 0)
			return;
	}
	*r = start;
	(void) wire_read_type(r);
	relation_store(cx, r);
	ar = relation_find(cx, remote.relid);
	ar->kept_relid = relid;
}

/* Describes a local table as if the description came from a provider. */
static WireRelation
relation_describe(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *sent = table_sent_columns(rel);
	AttrNumber *keys;
	WireRelation m = {
		.relid = RelationGetRelid(rel),.nspname = get_namespace_name(RelationGetNamespace(rel)),
		.relname = pstrdup(RelationGetRelationName(rel)),.identity = table_identity(rel),
		.atts = palloc0(Max(desc->natts, 1) * sizeof(WireAttribute))
	};

	m.nkeys = table_key_attributes(rel, &keys);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		WireAttribute *a = &m.atts[m.natts];

		if (!bms_is_member(att->attnum, sent))
			continue;
		*a = (WireAttribute){.name = pstrdup(NameStr(att->attname)),
							 .typid = att->atttypid,
							 .typmod = att->atttypmod,
							 .typschema = "",
							 .typname = ""};
		for (int k = 0; k < m.nkeys; k++)
		{
			if (keys[k] == att->attnum)
				a->keypos = k + 1;
		}
		m.natts++;
	}
	return m;
}

const WireRelation *
relation_remote(ApplyContext *cx, uint32 remote_id)
{
	ApplyRelation *ar = relation_find(cx, remote_id);

	return ar ? &ar->remote : NULL;
}

bool
relation_to_be_kept(ApplyContext *cx, uint32 remote_id, uint64 transaction)
{
	ApplyRelation *ar = relation_find(cx, remote_id);
	bool		result = ar->kept_in != transaction;

	Assert(ar->cx == cx);
	ar->kept_in = transaction;
	return result;
}

bool
relation_is_free(ApplyContext *cx, uint32 remote_id, uint64 reading)
{
	ApplyRelation *ar = relation_find(cx, remote_id);

	return ar && ar->free_in == reading;
}

void
relation_note_free(ApplyContext *cx, uint32 remote_id, uint64 reading)
{
	ApplyRelation *ar = relation_find(cx, remote_id);

	ar->free_in = reading;
}

/* Returns the oid of the local table, or InvalidOid if there is none. */
static Oid
local_table(const WireRelation *remote)
{
	return RangeVarGetRelid(makeRangeVar(remote->nspname, remote->relname, -1), NoLock, true);
}

bool
relation_exists(const WireRelation *remote)
{
	return OidIsValid(local_table(remote));
}

void
relation_pass_over(ApplyContext *cx, uint32 remote_id)
{
	ApplyRelation *ar = relation_find(cx, remote_id);

	if (ar)
		ar->passed_over = true;
}

bool
relation_is_passed_over(ApplyContext *cx, uint32 remote_id)
{
	ApplyRelation *ar = relation_find(cx, remote_id);

	return ar && ar->passed_over;
}

/*
 * Refuses rows of a table that has a foreign partition here, because an applier must not write to
 * other servers in the name of a table's owner.
 */
static void
relation_refuse_foreign_partition(const ApplyRelation *ar, const char *partition)
{
	char	   *table = quote_qualified_identifier(ar->remote.nspname, ar->remote.relname);

	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("table %s cannot be replicated: its partition \"%s\" is a foreign table on this node", table, partition),
			 errhint("Detach the partition, or call SELECT replication_plugin.exclude_table('%s') on this node; the link then goes on by itself.", table)));
}

/*
 * Returns the oid of the local table, or InvalidOid if rows are to be passed over because there is
 * no table, or none that can be written. Otherwise raises an error if there is no such table.
 */
static Oid
find_local_table(const ApplyRelation *ar)
{
	const WireRelation *remote = &ar->remote;
	Oid			relid = local_table(remote);
	char	   *foreign = OidIsValid(relid) ? table_foreign_partition(relid) : NULL;

	if (foreign && exclusion_reason(remote->nspname, remote->relname) != NULL)
		return InvalidOid;
	if (foreign)
		relation_refuse_foreign_partition(ar, foreign);
	if (!OidIsValid(relid) && !ar->passed_over &&
		exclusion_reason(remote->nspname, remote->relname) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist on this node",
						remote->nspname, remote->relname),
				 errhint("Create it here as it is on the other nodes; the link then goes on by itself.")));
	return relid;
}

/* Maps the provider's columns to local columns by name. */
static void
map_columns(ApplyRelation *ar)
{
	TupleDesc	desc = RelationGetDescr(ar->rel);
	Bitmapset  *sent = table_sent_columns(ar->rel);

	ar->natts = desc->natts;
	ar->local_att = palloc0(ar->remote.natts * sizeof(AttrNumber));
	ar->readers = palloc0(ar->remote.natts * sizeof(ValueReader));
	ar->values = palloc0(desc->natts * sizeof(Datum));
	ar->nulls = palloc0(desc->natts * sizeof(bool));
	ar->present = palloc0(desc->natts * sizeof(bool));
	for (int i = 0; i < ar->remote.natts; i++)
	{
		WireAttribute *remote = &ar->remote.atts[i];
		AttrNumber	att = get_attnum(ar->relid, remote->name);

		if (att > InvalidAttrNumber && TupleDescAttr(desc, att - 1)->attgenerated &&
			!bms_is_member(att, sent))
			ereport(ERROR,
					(errcode(ERRCODE_GENERATED_ALWAYS),
					 errmsg("column \"%s\" of table \"%s.%s\" is generated on this node, and an ordinary one where the row was written",
							remote->name, ar->remote.nspname, ar->remote.relname),
					 errhint("Make it alike on all nodes: ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION here; the link then goes on by itself.")));
		/* a number below 0 is a system column's */
		if (att <= InvalidAttrNumber || !bms_is_member(att, sent))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s.%s\" has no column \"%s\" on this node that could be written",
							ar->remote.nspname, ar->remote.relname, remote->name),
					 errhint("Add the column here; the link then goes on by itself. An order of steps for tables that others write to: \"Schema changes while others write\" in docs/operations.md.")));
		Assert(att > 0 && att <= desc->natts);
		ar->local_att[i] = att;
		value_reader_init(&ar->readers[i], remote, TupleDescAttr(desc, att - 1)->atttypid,
						  TupleDescAttr(desc, att - 1)->atttypmod);
	}
}

/* Determines the columns that need a default because the provider does not have them. */
static void
map_defaults(ApplyRelation *ar)
{
	TupleDesc	desc = RelationGetDescr(ar->rel);

	ar->ndefaults = 0;
	ar->default_att = palloc0(desc->natts * sizeof(AttrNumber));
	ar->default_expr = palloc0(desc->natts * sizeof(ExprState *));
	for (int att = 1; att <= desc->natts; att++)
	{
		Form_pg_attribute a = TupleDescAttr(desc, att - 1);
		bool		known = a->attisdropped || a->attgenerated;
		Expr	   *expr;

		for (int i = 0; i < ar->remote.natts && !known; i++)
			known = ar->local_att[i] == att;
		if (known)
			continue;
		expr = (Expr *) build_column_default(ar->rel, att);
		if (!expr)
			continue;
		ar->default_att[ar->ndefaults] = att;
		ar->default_expr[ar->ndefaults++] = ExecInitExpr(expression_planner(expr), NULL);
	}
}

void
relation_key_differs(ApplyRelation *ar)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the key of table \"%s.%s\" has other columns on the provider than here",
					ar->remote.nspname, ar->remote.relname),
			 errhint("Give the table the same primary key or replica identity on all nodes. An order of steps for tables that others write to: \"Schema changes while others write\" in docs/operations.md.")));
}

/* Maps the key's columns. */
static void
relation_map_key(ApplyRelation *ar)
{
	ar->key_index = table_key_index(ar->rel);
	ar->nkeys = table_key_attributes(ar->rel, &ar->key_atts);
	ar->keyless_there = ar->nkeys > 0 && ar->remote.identity != WIRE_IDENTITY_KEY &&
						!table_is_own_replicated(ar->rel);
	if (!ar->keyless_there &&
		ar->nkeys != (ar->remote.identity == WIRE_IDENTITY_KEY ? ar->remote.nkeys : 0))
		relation_key_differs(ar);
	ar->key_wire = palloc0(Max(ar->nkeys, 1) * sizeof(int));
	for (int k = 0; k < ar->nkeys; k++)
	{
		int			pos = 0;

		for (int i = 0; i < ar->remote.natts; i++)
		{
			if (ar->local_att[i] == ar->key_atts[k])
				pos = ar->keyless_there ? i + 1 : ar->remote.atts[i].keypos;
		}
		if (pos == 0)
			relation_key_differs(ar);
		ar->key_wire[k] = pos - 1;
	}
	if (ar->nkeys > 0 && !table_is_own_replicated(ar->rel))
	{
		ar->tombstones = tombstone_keys(ar->rel);
		ar->codec = row_codec(ar->rel);
		ar->contested = table_is_contested(ar->rel) || parked_any(ar->relid) || pin_any(ar->relid);
	}
	if (ar->nkeys > 0 && !ar->partitioned && table_is_mergeable(ar->rel))
		ar->merge = merge_table_open(ar->rel);
}

/* Maps the relation to its local table, which is open. */
static void
map_relation(ApplyRelation *ar)
{
	MemoryContext old;
	char		kind = ar->rel->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s.%s\" is not a table on this node",
						ar->remote.nspname, ar->remote.relname)));
	/* no sound node sends rows of catalogs or of a node's private tables */
	if (!table_is_replicated_if_logged(ar->rel) &&
		exclusion_reason(ar->remote.nspname, ar->remote.relname) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("rows of \"%s.%s\" came, which is not replicated", ar->remote.nspname, ar->remote.relname),
				 errhint("See on that node who has sent them: its superusers, and who may replicate, can.")));
	if (ar->context)
		MemoryContextDelete(ar->context);
	ar->context = AllocSetContextCreate(TopMemoryContext, "apply relation", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(ar->context);
	ar->tombstones = NULL;
	ar->codec = NULL;
	ar->contested = false;
	ar->merge = NULL;
	ar->owner = ar->rel->rd_rel->relowner;
	ar->partitioned = kind == RELKIND_PARTITIONED_TABLE;
	ar->envelope = table_is_envelope(ar->rel);
	map_columns(ar);
	map_defaults(ar);
	relation_map_key(ar);
	ar->runs_code = table_runs_code(ar->rel);
	ar->root_slot = MakeSingleTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(ar->rel)),
											 &TTSOpsVirtual);
	ar->valid = true;
	ar->cx->relations->mapped++;
	MemoryContextSwitchTo(old);
}

ApplyRelation *
relation_open_remote(ApplyContext *cx, uint32 remote_id)
{
	ApplyRelation *ar = relation_find(cx, remote_id);
	MemoryContext old;

	Assert(IsTransactionState());
	if (!ar)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a row of relation %u came before its description", remote_id)));
	if (ar->rel && ar->valid)
		return ar;
	if (!ar->rel)
	{
		if (!ar->valid)
			ar->relid = find_local_table(ar);
		if (!OidIsValid(ar->relid))
			return NULL;
		ar->rel = table_open(ar->relid, RowExclusiveLock);
		old = MemoryContextSwitchTo(TopMemoryContext);
		cx->relations->open = lappend(cx->relations->open, ar);
		MemoryContextSwitchTo(old);
	}
	if (!ar->valid)
	{
		/* planning default expressions may run functions */
		OwnerContext saved = as_owner_begin_code(ar->rel->rd_rel->relowner);

		map_relation(ar);
		as_owner_end(saved);
	}
	ar->target = ar->partitioned ? NULL : target_get(ar->relid, ar->key_index, NULL);
	Assert(ar->cx == cx && list_member_ptr(cx->relations->open, ar));
	return ar;
}

ApplyRelation *
relation_open_local(ApplyContext *cx, Oid relid)
{
	ApplyRelation *ar = relation_find(cx, relid);
	Relation	rel;

	if (!ar || (!ar->valid && !ar->rel))
	{
		MemoryContext context = description_context();
		MemoryContext old = MemoryContextSwitchTo(context);

		rel = table_open(relid, RowExclusiveLock);
		relation_keep(cx, relation_describe(rel), context);
		MemoryContextSwitchTo(old);
		table_close(rel, NoLock);
	}
	return relation_open_remote(cx, relid);
}

/* Sets up tuple routing for a partitioned table in this transaction. */
static Routing *
start_routing(ApplyRelation *ar)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Routing    *r = palloc0(sizeof(Routing));
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	Assert(ar->rel && ar->partitioned);
	rte->rtekind = RTE_RELATION;
	rte->relid = ar->relid;
	rte->relkind = RELKIND_PARTITIONED_TABLE;
	rte->rellockmode = RowExclusiveLock;
	r->rel = ar;
	r->estate = CreateExecutorState();
	init_range_table(r->estate, rte, NULL);
	r->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(r->rri, ar->rel, 1, NULL, 0);
	r->mtstate = makeNode(ModifyTableState);
	r->mtstate->ps.state = r->estate;
	r->mtstate->operation = CMD_INSERT;
	r->mtstate->resultRelInfo = r->rri;
	r->mtstate->rootResultRelInfo = r->rri;
	r->proute = ExecSetupPartitionTupleRouting(r->estate, ar->rel);
	ar->cx->relations->routings = lappend(ar->cx->relations->routings, r);
	MemoryContextSwitchTo(old);
	return r;
}

/*
 * Refuses a leaf partition of another owner who has not granted access to the table's owner. A
 * partition must not be a way around another table's privileges or row security.
 */
static void
check_leaf_rights(ApplyRelation *ar, Relation leaf)
{
	AclMode		needed = ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_SELECT;

	if (leaf->rd_rel->relowner == ar->owner || superuser_arg(ar->owner))
		return;
	if (pg_class_aclmask(RelationGetRelid(leaf), ar->owner, needed, ACLMASK_ALL) != needed ||
		check_enable_rls(RelationGetRelid(leaf), ar->owner, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the owner of table \"%s\" may not write to its partition \"%s\"",
						RelationGetRelationName(ar->rel), RelationGetRelationName(leaf)),
				 errhint("Give both tables the same owner.")));
}

ApplyTarget *
relation_leaf(ApplyRelation *ar, Oid relid)
{
	ApplyTarget *t = target_open_already(relid);
	Relation	leaf;
	Oid			key_index = InvalidOid;

	Assert(ar->rel && ar->partitioned);
	if (t)
		return t;
	leaf = table_open(relid, RowExclusiveLock);
	if (leaf->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		relation_refuse_foreign_partition(ar, RelationGetRelationName(leaf));
	check_leaf_rights(ar, leaf);
	if (OidIsValid(ar->key_index))
		key_index = target_partition_index(leaf, ar->key_index);
	t = target_get(relid, key_index, ar->rel);
	table_close(leaf, NoLock);
	return t;
}

/* Returns the routing of a partitioned table in this transaction. */
static Routing *
routing_of(ApplyRelation *ar)
{
	ListCell   *lc;

	foreach(lc, ar->cx->relations->routings)
	{
		if (((Routing *) lfirst(lc))->rel == ar)
			return lfirst(lc);
	}
	return start_routing(ar);
}

ApplyTarget *
relation_route_any(ApplyRelation *ar)
{
	MemoryContext context = CurrentMemoryContext;
	ApplyTarget *volatile t = NULL;

	/* partition key expressions are code of users; do not catch their errors */
	if (!ar->partitioned || RelationGetPartitionKey(ar->rel)->partexprs != NIL)
		return relation_route(ar);
	PG_TRY();
	{
		t = relation_route(ar);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_CHECK_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return t;
}

ApplyTarget *
relation_route(ApplyRelation *ar)
{
	Routing    *r;
	ResultRelInfo *leaf;

	if (!ar->partitioned)
		return ar->target;
	Assert(session_in_row());
	r = routing_of(ar);
	leaf = ExecFindPartition(r->mtstate, r->rri, r->proute, ar->root_slot, r->estate);
	ResetPerTupleExprContext(r->estate);
	return relation_leaf(ar, RelationGetRelid(leaf->ri_RelationDesc));
}

/* Discards the map of one relation. */
static void
forget_map(ApplyRelation *ar, Oid unused)
{
	Assert(!ar->rel);
	if (ar->context)
		MemoryContextDelete(ar->context);
	ar->context = NULL;
	ar->valid = false;
}

/* Discards all maps, when no table is open. Descriptions stay, because they are sent only once. */
static void
forget_maps(struct Relations *rs)
{
	for_all(rs, forget_map, InvalidOid);
	rs->mapped = 0;
}

void
relation_close_all(ApplyContext *cx)
{
	struct Relations *rs = cx->relations;
	ListCell   *lc;

	foreach(lc, rs->routings)
	{
		Routing    *r = lfirst(lc);

		ExecCleanupTupleRouting(r->mtstate, r->proute);
		/*
		 * Slots of partitions whose columns differ from the root's hold references to their
		 * descriptors.
		 */
		ExecResetTupleTable(r->estate->es_tupleTable, false);
		FreeExecutorState(r->estate);
	}
	rs->routings = NIL;
	foreach(lc, rs->open)
	{
		ApplyRelation *ar = lfirst(lc);

		Assert(ar->rel && ar->cx == cx);
		ExecClearTuple(ar->root_slot);
		table_close(ar->rel, NoLock);
		ar->rel = NULL;
		ar->placed = ar->await_known = false;
		ar->target = NULL;
	}
	list_free(rs->open);
	rs->open = NIL;
	if (rs->mapped > MOST_MAPPED)
		forget_maps(rs);
}

/* Forgets that a relation was open. */
static void
relation_clear(ApplyRelation *ar, Oid unused)
{
	ar->rel = NULL;
	ar->target = NULL;
	ar->valid = false;
	ar->placed = ar->await_known = false;
}

void
relation_reset(ApplyContext *cx)
{
	cx->relations->routings = NIL;
	list_free(cx->relations->open);
	cx->relations->open = NIL;
	for_all(cx->relations, relation_clear, InvalidOid);
}
