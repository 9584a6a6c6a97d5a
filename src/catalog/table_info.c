/*
 * table_info.c
 *		Which tables are replicated, under which name, and by which key their rows are found.
 *
 * All functions use the relation cache, system catalogs and user catalog tables only (exclusion.c).
 * So under the historic snapshot of logical decoding they give the answers as of the transaction
 * that is decoded. They take no locks on users' tables: decoding must not wait for these, and every
 * other caller holds a lock on the table in question.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "catalog/exclusion.h"
#include "catalog/names.h"
#include "catalog/table_info.h"

Oid
table_root(Oid relid)
{
	List	   *ancestors;
	Oid			root;

	if (!get_rel_relispartition(relid))
		return relid;
	ancestors = get_partition_ancestors(relid);
	root = ancestors == NIL ? relid : llast_oid(ancestors);
	list_free(ancestors);
	return root;
}

char *
table_foreign_partition(Oid relid)
{
	List	   *all = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE
						  ? find_all_inheritors(relid, NoLock, NULL)
						  : NIL;
	char	   *name = NULL;
	ListCell   *lc;

	foreach(lc, all)
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE)
			name = get_rel_name(lfirst_oid(lc));
	}
	list_free(all);
	return name;
}

bool
table_is_own_replicated(Relation rel)
{
#define ITEM(name) name,
	static const char *const names[] = {OWN_COPIED_TABLES(ITEM, ITEM) TABLE_WAITING_CHANGE};
#undef ITEM

	if (RelationGetNamespace(rel) != extension_schema_oid())
		return false;
	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(RelationGetRelationName(rel), names[i]) == 0)
			return true;
	}
	return false;
}

/* Returns true for the table of the extension with the name. */
static bool
table_info_is_own(Relation rel, const char *name)
{
	return strcmp(RelationGetRelationName(rel), name) == 0 &&
		   RelationGetNamespace(rel) == extension_schema_oid();
}

bool
table_is_frontier(Relation rel)
{
	return table_info_is_own(rel, TABLE_FRONTIER);
}

bool
table_is_envelope(Relation rel)
{
	return table_info_is_own(rel, TABLE_WAITING_CHANGE);
}

bool
table_is_replicated(Relation rel)
{
	return rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
		   table_is_replicated_if_logged(rel);
}

bool
table_is_replicated_if_logged(Relation rel)
{
	Form_pg_class c = rel->rd_rel;
	char	   *schema;

	if ((c->relkind != RELKIND_RELATION && c->relkind != RELKIND_PARTITIONED_TABLE) ||
		c->relpersistence == RELPERSISTENCE_TEMP || IsSystemRelation(rel) ||
		RelationGetRelid(rel) < FirstNormalObjectId)
		return false;
	if (c->relispartition)
	{
		Relation	root = RelationIdGetRelation(table_root(RelationGetRelid(rel)));
		bool		replicated = root && table_is_replicated(root);

		if (root)
			RelationClose(root);
		return replicated;
	}
	if (c->relnamespace == extension_schema_oid())
		return table_is_own_replicated(rel);
	schema = get_namespace_name(c->relnamespace);
	if (!schema || strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0)
		return false;
	return exclusion_reason(schema, RelationGetRelationName(rel)) == NULL;
}

Oid
table_key_index(Relation rel)
{
	Oid			index = RelationGetReplicaIndex(rel);

	/* with replica identity default, full or nothing: the primary key, if there is one */
	return OidIsValid(index) ? index : primary_key_index(rel);
}

WireIdentity
table_identity(Relation rel)
{
	if (OidIsValid(table_key_index(rel)))
		return WIRE_IDENTITY_KEY;
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return WIRE_IDENTITY_FULL;
	return WIRE_IDENTITY_NONE;
}

int
table_key_attributes(Relation rel, AttrNumber **attnums)
{
	Oid			oid = table_key_index(rel);
	Relation	index;
	int			n;

	*attnums = NULL;
	if (!OidIsValid(oid))
		return 0;
	index = RelationIdGetRelation(oid);
	if (!index)
		elog(ERROR, "could not open index %u", oid);
	n = IndexRelationGetNumberOfKeyAttributes(index);
	*attnums = palloc(n * sizeof(AttrNumber));
	for (int i = 0; i < n; i++)
		(*attnums)[i] = index->rd_index->indkey.values[i];
	RelationClose(index);
	return n;
}

int
table_root_key_attributes(Relation rel, Relation root, AttrNumber **attnums)
{
	int			n = table_key_attributes(root, attnums);

	for (int i = 0; i < n && RelationGetRelid(rel) != RelationGetRelid(root); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(root), (*attnums)[i] - 1);

		(*attnums)[i] = get_attnum(RelationGetRelid(rel), NameStr(att->attname));
		if ((*attnums)[i] == InvalidAttrNumber)
			elog(ERROR, "partition \"%s\" has no column \"%s\"", RelationGetRelationName(rel), NameStr(att->attname));
	}
	return n;
}

Bitmapset *
table_sent_columns(Relation root)
{
	TupleDesc	desc = RelationGetDescr(root);
	Bitmapset  *columns = NULL;
	AttrNumber *keys;
	int			n = table_key_attributes(root, &keys);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !att->attgenerated)
			columns = bms_add_member(columns, att->attnum);
	}
	for (int k = 0; k < n; k++)
		columns = bms_add_member(columns, keys[k]);
	return columns;
}

bool
table_logs_columns(Relation rel, const AttrNumber *attnums, int n)
{
	Bitmapset  *identity;

	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return true;
	identity = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	for (int i = 0; i < n; i++)
	{
		if (!bms_is_member(attnums[i] - FirstLowInvalidHeapAttributeNumber, identity))
			return false;
	}
	return n > 0;
}

bool
table_is_contested(Relation rel)
{
	Oid			key_index = table_key_index(rel);
	List	   *oids = RelationGetIndexList(rel);
	ListCell   *lc;
	/* partitions may have their own unique indexes */
	bool		contested = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		/* a key WITHOUT OVERLAPS is an exclusion constraint: different keys may conflict by it */
		contested |= index->rd_index->indisexclusion ||
					 (index->rd_index->indisunique && lfirst_oid(lc) != key_index);
		index_close(index, AccessShareLock);
	}
	list_free(oids);
	return contested;
}
