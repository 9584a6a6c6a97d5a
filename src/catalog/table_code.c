/*
 * table_code.c
 *		Finds out whether writing rows of a table runs functions of users.
 *
 * The answer is computed once per table and definition. It decides whether names are looked up
 * under the owner's search_path: most tables do not need that, and setting it takes some
 * microseconds. Expressions are examined in their stored form, because planning could run them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/syscache.h"

#include "catalog/names.h"
#include "catalog/table_code.h"

#define MOST_PARTITIONS	100		/* with more partitions, the answer is yes without examining each */

/* ---------- expressions ---------- */

/* Returns true for functions that are not built in. */
static bool
is_users_function(Oid function, void *unused)
{
	return function >= FirstNormalObjectId;
}

/* Returns true if an expression calls such a function, or makes a value of a user's domain. */
static bool
calls_users(Node *node, void *unused)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_users_function, NULL))
		return true;
	if (IsA(node, CoerceToDomain) && ((CoerceToDomain *) node)->resulttype >= FirstNormalObjectId)
		return true;
	return expression_tree_walker(node, calls_users, NULL);
}

/* Does the same for an expression in its stored form. */
static bool
text_calls_users(const char *expression)
{
	return expression && calls_users(stringToNode(expression), NULL);
}

/* Does the same for a column of a row of pg_index. */
static bool
index_column_calls_users(HeapTuple tuple, AttrNumber column)
{
	bool		isnull;
	Datum		stored = SysCacheGetAttr(INDEXRELID, tuple, column, &isnull);

	return !isnull && text_calls_users(TextDatumGetCString(stored));
}

/* ---------- parts of a table ---------- */

/* Returns true if an index calls users' functions: in expressions, or to compare values. */
static bool
index_runs_code(Oid indexoid)
{
	Relation	index = index_open(indexoid, AccessShareLock);
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexoid));
	bool		runs = false;

	if (HeapTupleIsValid(tuple))
	{
		runs = index_column_calls_users(tuple, Anum_pg_index_indexprs) ||
			   index_column_calls_users(tuple, Anum_pg_index_indpred);
		ReleaseSysCache(tuple);
	}
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		runs = runs || index->rd_opfamily[i] >= FirstNormalObjectId;
	index_close(index, NoLock);
	return runs;
}

/* Returns true if a trigger of a user fires for replicated rows. */
static bool
triggers_run_code(const TriggerDesc *triggers)
{
	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];

		if (!t->tgisinternal &&
			(t->tgenabled == TRIGGER_FIRES_ALWAYS || t->tgenabled == TRIGGER_FIRES_ON_REPLICA))
			return true;
	}
	return false;
}

/* Returns true if columns or constraints call users' functions. */
static bool
columns_run_code(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->atttypid >= FirstNormalObjectId)
			return true;
	}
	for (int i = 0; desc->constr && i < desc->constr->num_check; i++)
	{
		if (text_calls_users(desc->constr->check[i].ccbin))
			return true;
	}
	for (int i = 0; desc->constr && i < desc->constr->num_defval; i++)
	{
		if (text_calls_users(desc->constr->defval[i].adbin))
			return true;
	}
	return false;
}

/*
 * Returns true if a partition key calls users' functions. The key in the relation cache is planned,
 * so pg_partitioned_table is read.
 */
static bool
partition_key_runs_code(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(relid));
	bool		isnull;
	Datum		stored;
	bool		runs;

	if (!HeapTupleIsValid(tuple))
		return false;
	stored = SysCacheGetAttr(PARTRELID, tuple, Anum_pg_partitioned_table_partexprs, &isnull);
	runs = !isnull && text_calls_users(TextDatumGetCString(stored));
	ReleaseSysCache(tuple);
	return runs;
}

/* Returns true if the table itself, without its partitions, runs users' functions. */
static bool
runs_code(Relation rel)
{
	List	   *indexes;
	ListCell   *lc;
	bool		runs = false;

	if (triggers_run_code(rel->trigdesc) || columns_run_code(RelationGetDescr(rel)) ||
		partition_key_runs_code(RelationGetRelid(rel)))
		return true;
	indexes = RelationGetIndexList(rel);
	foreach(lc, indexes)
		runs = runs || index_runs_code(lfirst_oid(lc));
	list_free(indexes);
	return runs;
}

bool
table_runs_code(Relation rel)
{
	List	   *all;
	ListCell   *lc;
	bool		runs = false;

	if (RelationGetNamespace(rel) == extension_schema_oid())
		return false;
	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return runs_code(rel);
	all = find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL);
	if (list_length(all) > MOST_PARTITIONS)
		return true;
	foreach(lc, all)
	{
		Relation	part = runs ? NULL : table_open(lfirst_oid(lc), NoLock);

		if (!part)
			break;
		runs = runs_code(part);
		table_close(part, NoLock);
	}
	list_free(all);
	return runs;
}
