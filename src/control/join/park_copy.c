/*
 * park_copy.c
 *		Copies what a new member needs of a table with contested keys besides its rows.
 *
 * Copied rows have the oldest version. That is right for rows of the same key: the source decides
 * their state until the new member is ready. But each node decides for itself between rows of
 * different keys that are in each other's way, so it has to know the versions of such rows.
 *
 * An entry is {"parked": {row}, "index": "name", "blocked_by": {key}, "node": 1, "ts": 8165...}, or
 * {"pinned": {key}, "node": 1, "ts": ...}, with rows and keys as in store/row_text.h.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/context.h"
#include "apply/place.h"
#include "apply/row.h"
#include "apply/search.h"
#include "apply/unique.h"
#include "apply/unpark.h"
#include "apply/write.h"
#include "base/compat.h"
#include "base/full_xid.h"
#include "control/join/park_copy.h"
#include "store/row_text.h"

/*
 * An apply context that applies nothing; it only provides what is known of tables. It is kept for
 * all calls in this session, since it caches how tables are mapped.
 */
static ApplyContext *tables = NULL;

/* Returns that context, which is created at first use. */
static ApplyContext *
park_copy_context(void)
{
	if (!tables)
		tables = apply_create();
	return tables;
}

/* ---------- out ---------- */

/* The state of an export. */
typedef struct Export
{
	ApplyRelation *ar;
	uint64		since;
	ReturnSetInfo *result;
	MemoryContext context;		/* of one entry */
} Export;

/* Completes an entry with a version, and puts it into the result. */
static void
put_entry(Export *e, StringInfo buf, Version v)
{
	Datum		value;
	bool		isnull = false;

	appendStringInfo(buf, ",\"node\":%d,\"ts\":" INT64_FORMAT "}", v.node, v.ts);
	value = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf->data));
	tuplestore_putvalues(e->result->setResult, e->result->setDesc, &value, &isnull);
}

/* Appends the key of a row, in the root's layout, as an object. */
static void
append_key(Export *e, StringInfo buf, TupleTableSlot *row)
{
	appendStringInfoChar(buf, '{');
	row_text_append(buf, row, e->ar->key_atts, e->ar->nkeys);
	appendStringInfoChar(buf, '}');
}

/* Exports a parked row. */
static void
export_parked(Export *e, const ParkedEntry *entry)
{
	ApplyRelation *ar = e->ar;
	char	   *index = get_rel_name(entry->parked.index_id);
	Datum		key[INDEX_MAX_KEYS];
	StringInfoData buf;

	initStringInfo(&buf);
	row_decode(ar->codec, &entry->parked.row, ar->root_slot);
	appendStringInfoString(&buf, "{\"parked\":{");
	row_text_append(&buf, ar->root_slot, NULL, 0);
	appendStringInfoString(&buf, "},\"index\":");
	escape_json(&buf, index ? index : "");
	appendStringInfoString(&buf, ",\"blocked_by\":");
	if (!tombstone_key_values(ar->tombstones, entry->parked.blocked_by, key))
		elog(ERROR, "a stored key of table \"%s\" has other columns", RelationGetRelationName(ar->rel));
	row_key_to_root_slot(ar, key);
	append_key(e, &buf, ar->root_slot);
	put_entry(e, &buf, entry->parked.version);
}

/*
 * Sets *v to the version of a shown row and returns true if that version is needed: the row is
 * pinned, or other members may not have it yet. The latter rows of a mergeable table travel with
 * their states (state_copy.c).
 */
static bool
needed_version(Export *e, ApplyTarget *t, TupleTableSlot *row, Version *v)
{
	bool		isnull;
	TransactionId xmin =
		DatumGetTransactionId(slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull));
	Datum		key[INDEX_MAX_KEYS];

	if (!e->ar->merge && full_xid_of(xmin) >= e->since)
		*v = place_version(e->ar, t, row, VERSION_OLDEST);
	else
	{
		if (!e->ar->pinned)
			return false;
		place_key(t, row, key);
		if (!pin_find(e->ar->tombstones, key, xmin, v))
			return false;
	}
	return !version_is_oldest(*v);
}

/* Exports the version of a shown row. */
static void
export_version(Export *e, ApplyTarget *t, TupleTableSlot *row, Version v)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"pinned\":");
	if (t->to_root)
		row = execute_attr_map_slot(t->to_root->attrMap, row, e->ar->root_slot);
	append_key(e, &buf, row);
	put_entry(e, &buf, v);
}

/* Exports the version of a shown row if it is needed. */
static void
export_shown(Export *e, ApplyTarget *t, TupleTableSlot *row)
{
	Version		v;

	if (needed_version(e, t, row, &v))
		export_version(e, t, row, v);
}

/*
 * Exports the versions of the shown rows that are in the way of a parked row. Those that have come
 * since it was parked may have no pin yet.
 */
static void
export_clashes(Export *e, const ParkedEntry *entry)
{
	Datum		key[INDEX_MAX_KEYS];
	ApplyTarget *t;
	List	   *clashes;
	ListCell   *lc;

	if (!tombstone_key_values(e->ar->tombstones, entry->key, key))
		return;
	clashes = unpark_clashes(e->ar, key, &entry->parked, &t);
	foreach(lc, clashes)
	{
		TupleTableSlot *row = ((Clash *) lfirst(lc))->row;
		Version		v = place_version(e->ar, t, row, VERSION_OLDEST);

		if (!version_is_oldest(v))
			export_version(e, t, row, v);
	}
	unique_clashes_free(clashes);
}

/* Exports the shown rows of one table or partition. */
static void
export_target(Export *e, ApplyTarget *t)
{
	TupleTableSlot *row = table_slot_create(t->rel, NULL);
	TableScanDesc scan = begin_table_scan(t->rel, GetActiveSnapshot());

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		MemoryContext old = MemoryContextSwitchTo(e->context);

		CHECK_FOR_INTERRUPTS();
		export_shown(e, t, row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(e->context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
}

/*
 * Closes everything that is open. After an error, only forgets it, since the transaction's abort
 * closes it.
 */
static void
close_all(bool failed)
{
	parked_read_as_of(NULL);
	if (failed)
	{
		relation_reset(park_copy_context());
		target_reset();
		return;
	}
	relation_close_all(park_copy_context());
	target_close_all();
}

/* Exports the entries of one table. */
static void
export_all(Export *e, Oid relid)
{
	OwnerContext saved;
	ListCell   *lc;

	e->ar = relation_open_local(park_copy_context(), relid);
	if (!e->ar->contested || !e->ar->tombstones)
		return;
	parked_read_as_of(GetActiveSnapshot());
	e->ar->pinned = pin_any(relid);
	saved = become_owner(e->ar);
	foreach(lc, parked_list(relid, GetActiveSnapshot(), true))
	{
		export_parked(e, lfirst(lc));
		export_clashes(e, lfirst(lc));
	}
	foreach(lc, e->ar->merge && !e->ar->pinned ? NIL
												: find_all_inheritors(relid, AccessShareLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION)
			export_target(e, e->ar->partitioned ? relation_leaf(e->ar, lfirst_oid(lc))
												: e->ar->target);
	}
	become_worker(saved);
}

void
park_export(Relation rel, uint64 since, ReturnSetInfo *result)
{
	Export		e = {.since = since,.result = result};

	e.context = AllocSetContextCreate(CurrentMemoryContext, "park export", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		export_all(&e, RelationGetRelid(rel));
		close_all(false);
	}
	PG_CATCH();
	{
		close_all(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextDelete(e.context);
}

/* ---------- in ---------- */

/* Reads the key values from an object. */
static void
park_copy_read_key(ApplyRelation *ar, JsonbContainer *object, Datum *key)
{
	TupleTableSlot *row = row_text_read(ar->rel, object);

	row_text_key(row, ar->key_atts, ar->nkeys, key);
	ExecDropSingleTupleTableSlot(row);	/* the values live on */
}

/* Stores a parked row. */
static void
import_parked(ApplyRelation *ar, JsonbContainer *entry, Version version)
{
	TupleTableSlot *row = row_text_read(ar->rel, json_object_at(entry, "parked"));
	JsonbValue *index = json_field(entry, "index");
	ParkedRow	parked = {.version = version,.row = row_sibling(ar->codec, version, row)};
	Datum		key[INDEX_MAX_KEYS];
	Datum		blocker[INDEX_MAX_KEYS];
	StringInfoData buf;

	initStringInfo(&buf);
	park_copy_read_key(ar, json_object_at(entry, "blocked_by"), blocker);
	parked.blocked_by = tombstone_key_bytes(ar->tombstones, blocker, &buf);
	parked.index_id =
		index && index->type == jbvString
			? get_relname_relid(pnstrdup(index->val.string.val, index->val.string.len),
								RelationGetNamespace(ar->rel))
			: InvalidOid;
	park_copy_read_key(ar, json_object_at(entry, "parked"), key);
	(void) parked_store(ar->tombstones, key, &parked);
	ExecDropSingleTupleTableSlot(row);
}

/* Pins a copied row. */
static void
import_pin(ApplyRelation *ar, JsonbContainer *entry, Version version)
{
	Datum		key[INDEX_MAX_KEYS];
	ApplyTarget *t;
	bool		isnull;

	park_copy_read_key(ar, json_object_at(entry, "pinned"), key);
	row_key_to_root_slot(ar, key);
	t = relation_route(ar);
	if (search_key(t, key))
		pin_store(ar->tombstones, key,
				  DatumGetTransactionId(
					  slot_getsysattr(t->found, MinTransactionIdAttributeNumber, &isnull)),
				  version);
}

/* Stores an entry. */
static void
import_entry(Oid relid, Jsonb *entry)
{
	ApplyRelation *ar = relation_open_local(park_copy_context(), relid);
	JsonbContainer *root = json_root(entry);
	Version		version = json_version(root);
	OwnerContext saved;

	if (!ar->tombstones)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no key here", RelationGetRelationName(ar->rel)),
				 errhint("Give the table the same primary key or replica identity on all nodes.")));
	saved = become_owner(ar);
	if (json_field(root, "parked"))
		import_parked(ar, root, version);
	else if (json_field(root, "pinned"))
		import_pin(ar, root, version);
	become_worker(saved);
}

void
park_import(Oid relid, Jsonb *entry)
{
	PG_TRY();
	{
		import_entry(relid, entry);
		close_all(false);
	}
	PG_CATCH();
	{
		close_all(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
