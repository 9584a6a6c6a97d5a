/*
 * copy_table.c
 *		Copies the rows of one table from the source's snapshot: SQL function copy_table().
 *
 * The join worker calls it in sessions of its own (join_copy.c), which are set up for
 * it: replica role, and a replication origin that marks the rows as copied. Within it,
 * one more session reads the rows on the source, and COPY FROM takes them from there by
 * a callback. The table is emptied in the same transaction, so an interrupted copy
 * leaves nothing, and the rows can be written frozen: nobody can look at them before.
 *
 * Rows are written with the rights of the table's owner, in a restricted context: a CHECK
 * constraint, a domain or a type's input function can be anybody's code.
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

PG_FUNCTION_INFO_V1(replication_plugin_copy_table);

/* What the callback reads from: COPY FROM has no place for an argument. */
static struct
{
	PGconn	   *conn;
	char	   *data;			/* of libpq, NULL if used up */
	int			len;
	int			used;
	int64		bytes;			/* of the table so far */
} input;

/*
 * Opens a session of the source inside the snapshot, to read a table. A partition key's functions
 * may be put in place when it is read, and find names by the path of the table's owner, as far as
 * the source knows that. Names of objects in rows (regclass and the like) are printed by the same
 * path, and must come with their schemas: tables that have such are read under the pinned one.
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
	PQclear(peer_exec(conn, psprintf("SET TRANSACTION SNAPSHOT %s", quote_literal_cstr(snapshot))));
	/* rows that a policy hides would be missing here: an error instead */
	PQclear(peer_exec(conn, "SET row_security = off"));
	PQclear(peer_exec(conn, psprintf(find_names, quote_literal_cstr(table))));
	return conn;
}

/* Empties the table. Returns true if its rows may be written frozen: its storage is new. */
static bool
empty_table(const char *schema, const char *name, Oid relid)
{
	int			nest;

	if (strcmp(schema, EXTENSION_SCHEMA) != 0)
	{
		empty_tables(list_make1_oid(relid));
		return get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE;
	}
	/* our own tables are small, and somebody may be reading them */
	nest = session_sql_begin();
	SPI_execute(psprintf("DELETE FROM %s", name), false, 0);
	session_sql_end(nest);
	return false;
}

/*
 * What a column is sent as; NULL: as it is. What PostgreSQL writes of xml is another text than is
 * stored (an encoding that is named, a line break at the beginning), but its text form reads back
 * as it was. The binary form of some vectors does not read back at all. plain: set if the type must
 * go as text.
 */
static const char *
sent_as(Oid relid, const char *column, bool *plain)
{
	Oid			declared = get_atttype(relid, get_attnum(relid, column));
	/* it may be missing here */
	Oid			type = OidIsValid(declared) ? getBaseType(declared) : InvalidOid;
	Oid			element = get_base_element_type(type);
	Oid			part = OidIsValid(element) ? getBaseType(element) : type;

	if (part == XMLOID || type == OIDVECTOROID || type == INT2VECTOROID || part == OIDVECTOROID || part == INT2VECTOROID)
		*plain = true;
	if (part != XMLOID)
		return NULL;
	return OidIsValid(element) ? "pg_catalog.text[]" : "pg_catalog.text";
}

/*
 * Statement that sends the rows. binary: whether they may go in binary form; changed to whether
 * they do.
 */
static char *
copy_out_statement(Oid relid, const char *name, ArrayType *columns, bool with_children, bool *binary, List **column_names)
{
	StringInfoData sql,
				list;
	Datum	   *values;
	int			n;
	bool		query = with_children;	/* COPY of a table takes its own rows only */
	bool		plain = false;

	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	query |= n == 0;			/* a table without columns cannot name them */
	initStringInfo(&list);
	*column_names = NIL;
	for (int i = 0; i < n; i++)
	{
		char	   *column = TextDatumGetCString(values[i]);
		const char *as = sent_as(relid, column, &plain);

		appendStringInfo(&list, "%s%s%s%s", i ? ", " : "", quote_identifier(column), as ? "::" : "", as ? as : "");
		query |= as != NULL;
		*column_names = lappend(*column_names, makeString(column));
	}
	initStringInfo(&sql);
	if (query)
		appendStringInfo(&sql, "COPY (SELECT %s FROM %s%s", list.data, with_children ? "" : "ONLY ", name);
	else
		appendStringInfo(&sql, "COPY %s (%s", name, list.data);
	*binary = *binary && !plain;
	appendStringInfo(&sql, ") TO STDOUT%s", *binary ? " WITH (FORMAT binary)" : "");
	return sql.data;
}

/* Gets more rows from the source; returns false at their end. */
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
			return false;		/* end or error: the result tells */
		peer_wait(input.conn, WL_SOCKET_READABLE, -1);
		if (PQconsumeInput(input.conn) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("lost the connection to the source: %s", pchomp(PQerrorMessage(input.conn)))));
	}
}

/* Gives COPY FROM at least minread bytes, if there are so many. */
static int
read_input(void *out, int minread, int maxread)
{
	int			given = 0;

	while (given < minread)
	{
		int			n;

		if (!input.data && !fill_input())
			break;
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

/* Options of COPY FROM. */
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

/* True if a partition belongs to somebody else than its root. */
static bool
has_other_owners(Relation rel)
{
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), NoLock, NULL))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));
		bool		other = HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->relowner != rel->rd_rel->relowner;

		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		if (other)
			return true;
	}
	return false;
}

/* Takes the rows in, as the table's owner. Returns how many. */
static uint64
take_rows(Relation rel, List *columns, List *options)
{
	ParseState *pstate = make_parsestate(NULL);
	CopyFromState copy;
	uint64		rows;
	OwnerContext saved;

	addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	saved = as_owner_begin_code(rel->rd_rel->relowner);
	code_hook_many_owners(has_other_owners(rel));
	/* deferred ones would fire when we are not the owner any more */
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
	copy = BeginCopyFrom(pstate, rel, NULL, NULL, false, read_input, columns, options);
	rows = CopyFrom(copy);
	EndCopyFrom(copy);
	code_hook_many_owners(false);
	as_owner_end(saved);
	free_parsestate(pstate);
	return rows;
}

/* Refuses a table with a foreign partition: its rows would be written to where they are already. */
static void
refuse_foreign_partition(Oid relid, const char *name)
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
	char	   *sql = copy_out_statement(relid, name, PG_GETARG_ARRAYTYPE_P(3), with_children, &binary, &columns);
	bool		freeze = false;
	Relation	rel;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	refuse_foreign_partition(relid, name);
	conn = open_source(text_to_cstring(PG_GETARG_TEXT_PP(0)), name);
	if (PG_GETARG_BOOL(6))
		freeze = empty_table(schema, name, relid);
	rel = table_open(relid, RowExclusiveLock);
	PQclear(peer_exec(conn, sql));
	memset(&input, 0, sizeof(input));
	input.conn = conn;
	values[0] = Int64GetDatum((int64) take_rows(rel, columns, copy_in_options(binary, freeze)));
	while (fill_input())
		;
	PQclear(peer_result(conn, sql));
	PQfinish(conn);
	table_close(rel, NoLock);
	values[1] = Int64GetDatum(input.bytes);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
