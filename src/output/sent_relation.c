/*
 * sent_relation.c
 *		Caches what the native stream needs of a table, and whether the subscriber knows the
 *		table.
 *
 * Entries are built under the historic snapshot of the decoded transaction. Invalidations, which
 * decoding replays in stream order, mark them as invalid. DDL and exclude_table() therefore take
 * effect exactly where they were committed.
 *
 * A partition is sent as its topmost ancestor: with the columns of that table, which are found in
 * the partition by name.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/agreement.h"
#include "catalog/awaited.h"
#include "catalog/names.h"
#include "catalog/table_info.h"
#include "catalog/table_policy.h"
#include "output/sent_relation.h"

#define MAX_RELATIONS	1000	/* limit of entries that are kept across transactions */

/* The entries of a stream. */
struct SentRelations
{
	HTAB	   *entries;
	/* hash values of the schemas and types whose names are in entries; in a context below that */
	HTAB	   *names;
	bool		internal;		/* values are sent in internal form */
	int			protocol;		/* of the stream */
	SentRelation *last;			/* most rows belong to the table of the previous row */
};

/* Those of this process's stream, for notices of changes only; NULL: none. */
static SentRelations *current = NULL;

/* Marks all entries as invalid. */
static void
invalidate_all(SentRelations *cache)
{
	HASH_SEQ_STATUS seq;
	SentRelation *e;

	hash_seq_init(&seq, cache->entries);
	while ((e = hash_seq_search(&seq)) != NULL)
		e->valid = false;
}

/*
 * Invalidates the entry of a changed relation, and those of its partitions, which notice that its
 * generation differs.
 */
void
sent_relation_table_changed(Oid relid)
{
	SentRelation *e;

	if (!current || !current->names)
		return;
	if (relid == InvalidOid)
	{
		invalidate_all(current);
		return;
	}
	e = hash_search(current->entries, &relid, HASH_FIND, NULL);
	if (!e)
		return;
	e->valid = false;
	e->generation++;
}

void
sent_relation_name_changed(uint32 hash)
{
	if (current && current->names &&
		(hash == 0 || hash_search(current->names, &hash, HASH_FIND, NULL)))
		invalidate_all(current);
}

/* Creates the empty hash tables. */
static void
create_tables(SentRelations *cache)
{
	HASHCTL		ctl = {
		.keysize = sizeof(Oid),.entrysize = sizeof(SentRelation),.hcxt = CacheMemoryContext
	};

	cache->entries = hash_create("sent relations", 128, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.entrysize = sizeof(uint32);
	ctl.hcxt = GetMemoryChunkContext(cache->entries);
	cache->names = hash_create("names in sent relations", 64, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

SentRelations *
sent_relation_init(bool internal, int protocol)
{
	sent_relation_shutdown();
	current = MemoryContextAllocZero(CacheMemoryContext, sizeof(SentRelations));
	current->internal = internal;
	current->protocol = protocol;
	create_tables(current);
	return current;
}

/* Discards all entries, and the tables that have them. */
static void
destroy_tables(SentRelations *cache)
{
	HTAB	   *entries = cache->entries;

	cache->entries = cache->names = NULL;
	cache->last = NULL;
	if (entries)
		hash_destroy(entries);	/* and the names and entries, whose contexts are children */
}

void
sent_relation_shutdown(void)
{
	SentRelations *cache = current;

	current = NULL;
	if (!cache)
		return;
	destroy_tables(cache);
	pfree(cache);
}

void
sent_relation_trim(SentRelations *cache)
{
	Assert(cache == current);
	if (hash_get_num_entries(cache->entries) <= MAX_RELATIONS)
		return;
	destroy_tables(cache);
	create_tables(cache);
}

/* Returns the entry of a relation, empty if it is new. */
static SentRelation *
sent_relation_entry_of(SentRelations *cache, Oid relid)
{
	bool		found;
	SentRelation *e = hash_search(cache->entries, &relid, HASH_ENTER, &found);

	if (!found)
		memset((char *) e + sizeof(Oid), 0, sizeof(SentRelation) - sizeof(Oid));
	return e;
}

/* Returns true if an entry matches the current state of its relation and of the root. */
static inline bool
is_current(const SentRelation *e)
{
	Assert(!e->root_entry || e->root_entry->relid == e->root);
	return e->valid && (!e->root_entry || e->root_entry->generation == e->root_generation);
}

/* Notes that an entry contains the name of an object. */
static void
sent_relation_depends_on(SentRelations *cache, int cacheid, Oid object)
{
	uint32		hash = GetSysCacheHashValue1(cacheid, ObjectIdGetDatum(object));

	(void) hash_search(cache->names, &hash, HASH_ENTER, NULL);
}

/* Notes the same for the name and schema of a type, unless it is built in. */
static void
depends_on_type(SentRelations *cache, Oid typid)
{
	HeapTuple	tuple;

	if (typid < FirstNormalObjectId)
		return;
	sent_relation_depends_on(cache, TYPEOID, typid);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (!HeapTupleIsValid(tuple))
		return;
	sent_relation_depends_on(cache, NAMESPACEOID, ((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	ReleaseSysCache(tuple);
}

/* Returns the number that a root's column has in this table. */
static AttrNumber
map_attribute(Relation rel, Relation root, AttrNumber attnum)
{
	AttrNumber	mapped;

	if (rel == root)
		return attnum;
	mapped = get_attnum(RelationGetRelid(rel),
						NameStr(TupleDescAttr(RelationGetDescr(root), attnum - 1)->attname));
	if (mapped == InvalidAttrNumber)
		elog(ERROR, "partition \"%s\" lacks a column of its root", RelationGetRelationName(rel));
	return mapped;
}

/* Prepares to read values of a column that this server has written in internal form. */
static void
build_reader(ValueReader *reader, Form_pg_attribute att)
{
	WireAttribute same = {.typid = att->atttypid,
						  .typmod = att->atttypmod,
						  .typschema = "",
						  .typname = ""};

	value_reader_init(reader, &same, att->atttypid, att->atttypmod);
	value_reader_trust(reader);
}

/*
 * Returns the columns of a table of the extension that are newer than the stream's protocol; all
 * columns if the table itself is. A member that has them sets none of them before the group has
 * agreed on a protocol with which they are sent.
 */
static Bitmapset *
newer_columns(SentRelations *cache, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		all =
		own_table_since(RelationGetRelationName(rel), NULL) > cache->protocol;
	Bitmapset  *newer = NULL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && (all || own_table_since(RelationGetRelationName(rel),
														  NameStr(att->attname)) > cache->protocol))
			newer = bms_add_member(newer, att->attnum);
	}
	return newer;
}

/* Returns the columns of a table that are sent. */
static Bitmapset *
sent_columns(const SentRelation *e, Relation root)
{
	return bms_del_members(table_sent_columns(root), e->newer);
}

/* Determines the columns that are sent. */
static void
sent_relation_build_columns(SentRelations *cache, SentRelation *e, Relation rel, Relation root)
{
	TupleDesc	desc = RelationGetDescr(root);
	Bitmapset  *sent;

	e->newer = e->own ? newer_columns(cache, rel) : NULL;
	sent = sent_columns(e, root);
	e->natts = 0;
	e->attnums = palloc(desc->natts * sizeof(AttrNumber));
	e->writers = palloc0(desc->natts * sizeof(ValueWriter));
	e->readers = palloc0(desc->natts * sizeof(ValueReader));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!bms_is_member(att->attnum, sent))
			continue;
		e->attnums[e->natts] = map_attribute(rel, root, att->attnum);
		depends_on_type(cache, att->atttypid);
		depends_on_type(cache, getBaseType(att->atttypid));
		value_writer_init(&e->writers[e->natts], att->atttypid, cache->internal);
		build_reader(&e->readers[e->natts], att);
		e->natts++;
	}
}

/* Determines the key. */
static void
build_key(SentRelations *cache, SentRelation *e, Relation rel, Relation root)
{
	AttrNumber *attnums;

	e->identity = table_identity(root);
	e->nkeys = table_key_attributes(root, &attnums);
	e->key_attnums = palloc0(Max(e->nkeys, 1) * sizeof(AttrNumber));
	e->key_writers = palloc0(Max(e->nkeys, 1) * sizeof(ValueWriter));
	e->key_readers = palloc0(Max(e->nkeys, 1) * sizeof(ValueReader));
	for (int k = 0; k < e->nkeys; k++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(root), attnums[k] - 1);

		e->key_attnums[k] = map_attribute(rel, root, attnums[k]);
		value_writer_init(&e->key_writers[k], att->atttypid, cache->internal);
		build_reader(&e->key_readers[k], att);
	}
}

/* Finds the relation as which a partition is sent. */
static void
find_root(SentRelations *cache, SentRelation *e, Relation rel)
{
	e->root = table_root(e->relid);
	if (e->root == e->relid)
		return;
	e->root_entry = sent_relation_entry_of(cache, e->root);
	e->root_generation = e->root_entry->generation;
}

/* Builds an entry. */
static void
sent_relation_build(SentRelations *cache, SentRelation *e, Relation rel)
{
	MemoryContext old;
	Relation	root;

	if (e->context)
		MemoryContextDelete(e->context);
	e->context = AllocSetContextCreate(GetMemoryChunkContext(cache->entries), "sent relation",
									   ALLOCSET_SMALL_SIZES);
	e->described = false;
	e->root = e->relid;
	/* set first: a change while the entry is built makes it invalid again */
	e->valid = true;
	e->root_entry = NULL;
	sent_relation_depends_on(cache, NAMESPACEOID, RelationGetNamespace(rel));
	if (RelationGetRelid(rel) == extension_relation_oid(TABLE_TOMBSTONE))
	{
		e->kind = SENT_TOMBSTONES;
		return;
	}
	find_root(cache, e, rel);
	e->kind = table_is_replicated(rel) ? SENT_ROWS : SENT_NOTHING;
	if (e->kind == SENT_NOTHING)
		return;
	e->own = table_is_own_replicated(rel);
	root = e->root == e->relid ? rel : RelationIdGetRelation(e->root);
	if (!root)
		elog(ERROR, "could not open relation %u", e->root);
	sent_relation_depends_on(cache, NAMESPACEOID, RelationGetNamespace(root));
	if (OidIsValid(table_key_index(root)) && table_is_mergeable(root))
		e->kind = SENT_WRITES;
	e->awaited = awaited_any(root);
	old = MemoryContextSwitchTo(e->context);
	sent_relation_build_columns(cache, e, rel, root);
	build_key(cache, e, rel, root);
	MemoryContextSwitchTo(old);
	if (root != rel)
		RelationClose(root);
}

SentRelation *
sent_relation_get(SentRelations *cache, Relation rel)
{
	Oid			relid = RelationGetRelid(rel);

	if (cache->last && cache->last->relid == relid && is_current(cache->last))
		return cache->last;
	cache->last = sent_relation_entry_of(cache, relid);
	if (!is_current(cache->last))
		sent_relation_build(cache, cache->last, rel);
	return cache->last;
}

SentRelation *
sent_relation_by_oid(SentRelations *cache, Oid relid)
{
	SentRelation *e = hash_search(cache->entries, &relid, HASH_FIND, NULL);
	Relation	rel;

	if (e && is_current(e))
		return e;
	rel = RelationIdGetRelation(relid);
	if (!rel)
		return NULL;
	e = sent_relation_get(cache, rel);
	RelationClose(rel);
	return e;
}

SentRelation *
sent_relation_known(SentRelations *cache, Oid relid)
{
	return hash_search(cache->entries, &relid, HASH_FIND, NULL);
}

/* Fills in the type of a column. */
static void
describe_type(WireAttribute *a, Form_pg_attribute att)
{
	HeapTuple	tuple;

	a->typmod = att->atttypmod;
	a->typid = getBaseTypeAndTypmod(att->atttypid, &a->typmod);
	a->typschema = a->typname = "";
	if (a->typid < FirstGenbkiObjectId)
		return;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(a->typid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", a->typid);
	a->typname = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	a->typschema = get_namespace_name(((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	ReleaseSysCache(tuple);
}

void
sent_relation_describe(StringInfo out, SentRelation *e)
{
	Relation	root = RelationIdGetRelation(e->root);
	TupleDesc	desc;
	AttrNumber *keys;
	Bitmapset  *sent;
	WireRelation m = {0};

	Assert(e->kind == SENT_ROWS || e->kind == SENT_WRITES);
	if (!root)
		elog(ERROR, "could not open relation %u", e->root);
	desc = RelationGetDescr(root);
	m.relid = e->root;
	m.nspname = get_namespace_name(RelationGetNamespace(root));
	m.relname = RelationGetRelationName(root);
	m.identity = e->identity;
	m.nkeys = table_key_attributes(root, &keys);
	sent = sent_columns(e, root);
	m.atts = palloc0(Max(e->natts, 1) * sizeof(WireAttribute));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		WireAttribute *a = &m.atts[m.natts];

		if (!bms_is_member(att->attnum, sent))
			continue;
		a->name = NameStr(att->attname);
		describe_type(a, att);
		for (int k = 0; k < m.nkeys; k++)
		{
			if (keys[k] == att->attnum)
				a->keypos = k + 1;
		}
		m.natts++;
	}
	wire_write_relation(out, &m);
	RelationClose(root);
	e->described = true;
}
