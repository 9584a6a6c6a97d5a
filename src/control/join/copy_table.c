/*
 * copy_table.c
 *		Copies the rows of one table from the source's snapshot: SQL function copy_table().
 *
 * The copy workers call it in sessions that are set up for it (copy_pool.c): replica role, and a
 * replication origin that marks the rows as copied. The function opens a session on the source that
 * reads the rows, and COPY FROM takes them from there through a callback. The same transaction
 * empties the table, so an interrupted copy leaves nothing, and the rows can be written frozen: no
 * session can see them before the commit.
 *
 * Rows are written with the rights of the table's owner, in a restricted context: a CHECK
 * constraint, a domain or a type's input function can be any user's code.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/code_hook.h"
#include "base/peer.h"
#include "base/session.h"
#include "catalog/as_owner.h"
#include "catalog/names.h"
#include "catalog/nodes.h"
#include "catalog/table_info.h"
#include "control/join/empty_tables.h"

static const char set_snapshot_sql[] = "SET TRANSACTION SNAPSHOT %s";
static const char row_security_off_sql[] = "SET row_security = off";

PG_FUNCTION_INFO_V1(replication_plugin_copy_table);

/* Source of the callback, because COPY FROM has no argument for it. */
static struct
{
	PGconn	   *conn;
	char	   *data;			/* from libpq; NULL if used up */
	int			len;
	int			used;
	int64		bytes;			/* of the table so far */
} input;

/*
 * Opens a session on the source inside the snapshot, to read a table.
 *
 * The functions of a partition key may be inlined when the table is read, and find names by the
 * search_path of the table's owner, as far as the source knows it. Names of objects in rows
 * (regclass and the like) are printed by the same path, but must come with their schemas: tables
 * with such columns are read under the pinned search_path.
 */
static PGconn *
open_source(const char *snapshot, const char *table)
{
	static const char *const find_names =
	"DO $do$ BEGIN"
	" IF to_regprocedure('replication_plugin.empty_tables(regclass[])') IS NOT NULL THEN SET LOCAL " CODE_AS_OWNERS " = on; END IF;"
	" IF to_regprocedure('replication_plugin.code_search_path(oid)') IS NOT NULL THEN"
	" EXECUTE $q$ SELECT set_config('search_path', replication_plugin.code_search_path(c.relowner), true) FROM pg_class c WHERE c.oid = %s::regclass"
	" AND c.relkind = 'p' AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
	"  AND format_type(a.atttypid, NULL) LIKE 'reg%%') $q$;"
	" END IF; END $do$";

	LocalNode  *local = nodes_local();
	PGconn	   *conn;

	if (!local || !local->source_dsn)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not joining a group")));
	conn = peer_connect(local->source_dsn, PEER_SQL, "replication_plugin copy");
	PQclear(peer_exec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
	PQclear(peer_exec(conn, psprintf(set_snapshot_sql, quote_literal_cstr(snapshot))));
	/* raise an error instead of leaving out rows that a policy hides */
	PQclear(peer_exec(conn, row_security_off_sql));
	PQclear(peer_exec(conn, psprintf(find_names, quote_literal_cstr(table))));
	return conn;
}

/* Empties the table. Returns true if its storage is new, so that its rows may be written frozen. */
static bool
empty_table(const char *schema, const char *name, Oid relid)
{
	int			nest;

	if (strcmp(schema, EXTENSION_SCHEMA) != 0)
	{
		empty_tables(list_make1_oid(relid));
		return get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE;
	}
	/* the extension's own tables are small, and other sessions may be reading them */
	nest = session_sql_begin();
	SPI_execute(psprintf("DELETE FROM %s", name), false, 0);
	session_sql_end(nest);
	return false;
}

/*
 * Returns the type as which a column is sent, or NULL for its own. Sets *plain if the type must be
 * sent in text form.
 *
 * PostgreSQL's output of xml differs from the stored text (it names an encoding, and may begin with
 * a line break), but the text form reads back unchanged. The binary form of oidvector and
 * int2vector does not read back at all.
 */
static const char *
sent_as(Oid relid, const char *column, bool *plain)
{
	Oid			declared = get_atttype(relid, get_attnum(relid, column));
	/* the column may be missing on this node */
	Oid			type = OidIsValid(declared) ? getBaseType(declared) : InvalidOid;
	Oid			element = get_base_element_type(type);
	Oid			part = OidIsValid(element) ? getBaseType(element) : type;

	if (part == XMLOID || type == OIDVECTOROID || type == INT2VECTOROID || part == OIDVECTOROID ||
		part == INT2VECTOROID)
		*plain = true;
	if (part != XMLOID)
		return NULL;
	return OidIsValid(element) ? "pg_catalog.text[]" : "pg_catalog.text";
}

/*
 * Returns the statement that sends the rows. *binary: on entry, whether they may be sent in binary
 * form; on return, whether they are.
 */
static char *
copy_out_statement(Oid relid, const char *name, ArrayType *columns, bool with_children,
				   bool *binary, List **column_names)
{
	StringInfoData sql,
				list;
	Datum	   *values;
	int			n;
	bool		own = get_rel_namespace(relid) == extension_schema_oid();
	bool		query = with_children;	/* COPY of a table sends only its own rows */
	bool		plain = false;

	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	query |= n == 0;			/* a table without columns cannot name them */
	initStringInfo(&list);
	*column_names = NIL;
	for (int i = 0; i < n; i++)
	{
		char	   *column = TextDatumGetCString(values[i]);
		const char *as;

		/* the source has a newer version: the group has agreed on none that uses the column */
		if (own && get_attnum(relid, column) == InvalidAttrNumber)
			continue;
		as = sent_as(relid, column, &plain);
		appendStringInfo(&list, "%s%s%s%s", list.len ? ", " : "", quote_identifier(column),
						 as ? "::" : "", as ? as : "");
		query |= as != NULL;
		*column_names = lappend(*column_names, makeString(column));
	}
	initStringInfo(&sql);
	if (query)
		appendStringInfo(&sql, "COPY (SELECT %s FROM %s%s", list.data, with_children ? "" : "ONLY ",
						 name);
	else
		appendStringInfo(&sql, "COPY %s (%s", name, list.data);
	*binary = *binary && !plain;
	appendStringInfo(&sql, ") TO STDOUT%s", *binary ? " WITH (FORMAT binary)" : "");
	return sql.data;
}

/* Gets more rows from the source. Returns false at their end. */
static bool
fill_input(void)
{
	if (input.data)
		PQfreemem(input.data);
	input.data = NULL;
	for (;;)
	{
		input.len = PQgetCopyData(input.conn, &input.data, 1);
		input.used = 0;
		if (input.len > 0)
		{
			input.bytes += input.len;
			return true;
		}
		if (input.len < 0)
			return false;		/* end or error: the caller reads the result */
		peer_wait(input.conn, WL_SOCKET_READABLE, -1);
		if (PQconsumeInput(input.conn) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("lost the connection to the source: %s", pchomp(PQerrorMessage(input.conn)))));
	}
}

/* Gives COPY FROM at least minread bytes, or all that are left. */
static int
read_input(void *out, int minread, int maxread)
{
	int			given = 0;

	while (given < minread)
	{
		int			n;

		if (!input.data && !fill_input())
			break;
		Assert(input.used < input.len && given < maxread);
		n = Min(input.len - input.used, maxread - given);
		memcpy((char *) out + given, input.data + input.used, n);
		input.used += n;
		given += n;
		if (input.used == input.len)
		{
			PQfreemem(input.data);
			input.data = NULL;
		}
	}
	return given;
}

/* Returns the options for COPY FROM. */
static List *
copy_in_options(bool binary, bool freeze)
{
	List	   *options = NIL;

	if (binary)
		options = lappend(options, makeDefElem("format", (Node *) makeString("binary"), -1));
	if (freeze)
		options = lappend(options, makeDefElem("freeze", (Node *) makeString("true"), -1));
	return options;
}

/* Returns true if a partition has another owner than the partitioned table. */
static bool
has_other_owners(Relation rel)
{
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), NoLock, NULL))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));
		bool		other = HeapTupleIsValid(tuple) &&
					 ((Form_pg_class) GETSTRUCT(tuple))->relowner != rel->rd_rel->relowner;

		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		if (other)
			return true;
	}
	return false;
}

/* Writes the rows as the table's owner. Returns their number. */
static uint64
copy_table_take_rows(Relation rel, List *columns, List *options)
{
	ParseState *pstate = make_parsestate(NULL);
	CopyFromState copy;
	uint64		rows;
	OwnerContext saved;

	addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	code_hook_many_owners(has_other_owners(rel));
	/* deferred triggers would fire after the role of the owner is left */
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
	copy = BeginCopyFrom(pstate, rel, NULL, NULL, false, read_input, columns, options);
	rows = CopyFrom(copy);
	EndCopyFrom(copy);
	code_hook_many_owners(false);
	as_owner_end(saved);
	free_parsestate(pstate);
	return rows;
}

/*
 * Raises an error if the table has a foreign partition: its rows are on another server already, and
 * the copy would write them there again.
 */
static void
copy_table_refuse_foreign_partition(Oid relid, const char *name)
{
	char	   *partition = table_foreign_partition(relid);

	if (partition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table %s cannot be replicated: its partition \"%s\" is a foreign table", name, partition),
				 errhint("Call leave_group() here, SELECT replication_plugin.exclude_table('%s') on a member, and join again.", name)));
}

/*
 * copy_table(snapshot text, schema_name text, table_name text, columns text[], with_children
 * boolean, as_binary boolean, empty_first boolean) → (rows bigint, bytes bigint)
 */
Datum
replication_plugin_copy_table(PG_FUNCTION_ARGS)
{
	PGconn	   *conn;
	char	   *schema = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *table = text_to_cstring(PG_GETARG_TEXT_PP(2));
	char	   *name = quote_qualified_identifier(schema, table);
	bool		with_children = PG_GETARG_BOOL(4);
	bool		binary = PG_GETARG_BOOL(5);
	Oid			relid = RangeVarGetRelid(makeRangeVar(schema, table, -1), RowExclusiveLock, false);
	List	   *columns;
	char	   *sql =
		copy_out_statement(relid, name, PG_GETARG_ARRAYTYPE_P(3), with_children, &binary, &columns);
	bool		freeze = false;
	Relation	rel;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	copy_table_refuse_foreign_partition(relid, name);
	conn = open_source(text_to_cstring(PG_GETARG_TEXT_PP(0)), name);
	if (PG_GETARG_BOOL(6))
		freeze = empty_table(schema, name, relid);
	rel = table_open(relid, RowExclusiveLock);
	PQclear(peer_exec(conn, sql));
	memset(&input, 0, sizeof(input));
	input.conn = conn;
	values[0] =
		Int64GetDatum((int64) copy_table_take_rows(rel, columns, copy_in_options(binary, freeze)));
	while (fill_input())
		;
	PQclear(peer_result(conn, sql));
	PQfinish(conn);
	table_close(rel, NoLock);
	values[1] = Int64GetDatum(input.bytes);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
