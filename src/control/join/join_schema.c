/*
 * join_schema.c
 *		Copies the schema of a joining node: runs pg_dump in the source's snapshot (script.c).
 *
 * The schema comes in two scripts: tables, types and functions before the rows, and indexes,
 * constraints and triggers after them. Each script runs in one transaction, together with a
 * statement that notes its completion. So it is applied completely or not at all, and after a crash
 * it is known which.
 *
 *	before the rows		notes local_node.schema_copied; kept when the copying starts over
 *	after the rows		is stored in join_script when it is dumped, since it must come from the
 *						same snapshot; the transaction that runs it deletes it
 *
 * Scripts can contain secrets: passwords of user mappings, and those in bodies of functions.
 * Therefore their files are unlinked as soon as they are created: nothing is left of them, however
 * this process ends.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "common/file_perm.h"
#include "common/file_utils.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/dsn.h"
#include "base/own_transaction.h"
#include "base/peer.h"
#include "base/run_program.h"
#include "catalog/names.h"
#include "control/join/join.h"
#include "control/join/script.h"
#include "control/workers/sql.h"

#define SCRIPT_DIR	"base/" PG_TEMP_FILES_DIR

static const char session_lacks_sql[] =
	"SELECT problem, fix FROM replication_plugin.session_lacks() LIMIT 1";
static const char extensions_sql[] =
	"SELECT '--extension=\"' || pg_catalog.replace(extname, '\"', '\"\"') || '\"'"
	" FROM pg_catalog.pg_extension WHERE extname <> '" EXTENSION_NAME "'"
	" UNION ALL SELECT '--exclude-table-data=\"' || pg_catalog.replace(n.nspname, '\"',"
	" '\"\"') || '\".\"' || pg_catalog.replace(c.relname, '\"', '\"\"') || '\"'"
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND c.oid >= 16384"
	" AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')";
static const char delete_script_sql[] = "DELETE FROM replication_plugin.join_script";
static const char insert_script_sql[] =
	"INSERT INTO replication_plugin.join_script (script) VALUES ($1)";
static const char read_script_sql[] = "SELECT script FROM replication_plugin.join_script";
static const char schema_is_copied_sql[] =
	"SELECT 1 FROM replication_plugin.local_node WHERE schema_copied";
static const char note_schema_copied_sql[] =
	"UPDATE replication_plugin.local_node SET schema_copied = true";

/* ---------- programs ---------- */

void
join_require_programs(int source_version_num)
{
	char	   *pg_dump = program_path("pg_dump");
	int			major = program_major_version(pg_dump);

	if (major < source_version_num / 10000)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("program \"%s\" is of version %d, too old for a source of version %d",
						pg_dump, major, source_version_num / 10000),
				 errhint("Upgrade this server, or copy the schema yourself and join with copy_schema => false.")));
}

/*
 * Returns the environment with which a program connects, in addition to the resolved dsn without
 * secrets.
 */
static const char *const *
connection_environment(const char *dsn)
{
	PQconninfoOption *options = dsn_parse(dsn);
	const char **environment = palloc0(4 * sizeof(char *));
	int			n = 0;
	bool		has_timeout = false;

	for (PQconninfoOption *o = options; o->keyword; o++)
	{
		if (!o->val || !o->val[0])
			continue;
		if (strcmp(o->keyword, "password") == 0)
			environment[n++] = psprintf("PGPASSWORD=%s", o->val);
		has_timeout = has_timeout || strcmp(o->keyword, "connect_timeout") == 0;
	}
	PQconninfoFree(options);
	if (!has_timeout)
		environment[n++] = "PGCONNECT_TIMEOUT=10";
	environment[n++] = "PGAPPNAME=replication_plugin schema";
	return environment;
}

/* Creates a file without a name, on the file system of the database. */
static int
script_file(void)
{
	char	   *path = psprintf("%s/%s_replication_plugin_%u_%d", SCRIPT_DIR, PG_TEMP_FILE_PREFIX,
								MyDatabaseId, MyProcPid);
	int			fd;

	if (mkdir(SCRIPT_DIR, pg_dir_create_mode) < 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", SCRIPT_DIR)));
	fd = OpenTransientFilePerm(path, O_CREAT | O_EXCL | O_RDWR | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	unlink(path);
	return fd;
}

/* Reads a file from its beginning. */
static bytea *
join_schema_read_file(int fd)
{
	struct stat st;
	bytea	   *result;

	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read the schema's definition: %m")));
	if (st.st_size > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the schema's definition is too large"),
				 errhint("Copy the schema yourself and join with copy_schema => false.")));
	result = palloc(VARHDRSZ + st.st_size);
	SET_VARSIZE(result, VARHDRSZ + st.st_size);
	if (read(fd, VARDATA(result), st.st_size) != st.st_size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read the schema's definition: %m")));
	return result;
}

/* Raises an error that names what the role on the source lacks, if it lacks anything. */
static void
require_rights(PGconn *conn)
{
	PGresult   *res = peer_exec(conn, session_lacks_sql);

	if (PQntuples(res) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the schema of the source cannot be copied: %s", PQgetvalue(res, 0, 0)),
				 errhint("On the source: %s. The join goes on by itself. Or call leave_group(), copy the schema yourself, and join with copy_schema => false.",
						 PQgetvalue(res, 0, 1))));
	PQclear(res);
}

/*
 * Adds options for a role that is not a superuser. pg_dump locks the tables of extensions whose
 * contents it could dump, and only a superuser may lock all of this extension's: so all other
 * extensions are named. pg_dump also reads sequences whose data it could dump: those that the role
 * cannot read are excluded.
 */
static List *
add_limits(List *argv, const char *dsn)
{
	PGconn	   *conn = peer_connect(dsn, PEER_SQL, "replication_plugin schema");
	PGresult   *res;

	require_rights(conn);
	res = peer_exec(conn, extensions_sql);
	for (int i = 0; i < PQntuples(res); i++)
		argv = lappend(argv, pstrdup(PQgetvalue(res, i, 0)));
	PQclear(res);
	PQfinish(conn);
	return argv;
}

/* Returns true if the sessions on the source are a superuser's. */
static bool
is_superuser(PGconn *conn)
{
	const char *value = PQparameterStatus(conn, "is_superuser");

	return value && strcmp(value, "on") == 0;
}

/* Dumps one section of the source's schema in the snapshot. Returns the script. */
static bytea *
join_schema_dump(Joining *join, const char *section)
{
	bool		superuser = is_superuser(join->replication);
	char	   *dsn = dsn_resolve(join->local->source_dsn, false);
	List		  *list = list_make4(program_path("pg_dump"), psprintf("--section=%s", section),
									 "--no-publications", "--no-subscriptions");
	const char **argv;
	OwnTransaction t;
	ListCell   *lc;
	bytea	   *script;
	int			fd;

	list = lappend(list, "--exclude-schema=" EXTENSION_SCHEMA);
	list = lappend(list, psprintf("--snapshot=%s", join->snapshot));
	list = lappend(list, psprintf("--dbname=%s", dsn_for_program(dsn, superuser)));
	if (!superuser)
		list = add_limits(list, join->local->source_dsn);
	argv = palloc0((list_length(list) + 1) * sizeof(char *));
	foreach(lc, list)
		argv[foreach_current_index(lc)] = lfirst(lc);
	t = own_transaction_begin();	/* after an error, the end of the transaction closes the file */
	fd = script_file();
	run_program(argv, connection_environment(dsn), -1, fd, NULL, NULL);
	MemoryContextSwitchTo(t.context);
	script = join_schema_read_file(fd);
	CloseTransientFile(fd);
	own_transaction_end(&t);
	return script;
}

/* Returns a script as a null-terminated string. */
static char *
script_text(bytea *script)
{
	return text_to_cstring((text *) script);
}

/* ---------- storing the second script ---------- */

/* Stores the second script. */
static void
put_away(bytea *text)
{
	OwnTransaction t = own_transaction_begin_sql();
	Oid			type = BYTEAOID;
	Datum		script = PointerGetDatum(text);

	SPI_connect();
	SPI_execute(delete_script_sql, false, 0);
	SPI_execute_with_args(insert_script_sql, 1, &type, &script, NULL, false, 0);
	SPI_finish();
	own_transaction_end(&t);
}

/* Reads the stored script. Returns NULL if there is none, because it has been run. */
static bytea *
take_out(void)
{
	OwnTransaction t = own_transaction_begin_sql();
	bytea	   *script = NULL;
	bool		isnull;

	SPI_connect();
	SPI_execute(read_script_sql, true, 0);
	if (SPI_processed > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(t.context);

		script = DatumGetByteaPCopy(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	own_transaction_end(&t);
	return script;
}

/* ---------- steps ---------- */

void
join_copy_schema(Joining *join)
{
	bytea	   *tables;

	if (!join->local->copy_schema)
		return;
	join_progress("dumping the schema");
	tables = join_schema_dump(join, "pre-data");
	put_away(join_schema_dump(join, "post-data"));
	if (sql_value(schema_is_copied_sql, 0, NULL))
		return;
	join_progress("restoring tables and functions");
	script_run(script_text(tables), note_schema_copied_sql);
}

void
join_restore_indexes(Joining *join)
{
	bytea	   *script = take_out();

	if (!script)
		return;
	join_progress("building indexes and constraints");
	script_run(script_text(script), delete_script_sql);
}
