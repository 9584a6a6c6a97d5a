/*
 * join_schema.c
 *		The schema of a joining node: pg_dump of the source's snapshot, psql here.
 *
 * It comes in two scripts: tables, types and functions before the rows, and indexes,
 * constraints and triggers after them. Each is run in one transaction, together with
 * a statement that notes it as done: so it is there wholly or not at all, and
 * after a crash we know which.
 *
 *	before the rows		notes local_node.schema_copied. Kept when the copying starts over.
 *	after the rows		is stored in join_script when it is dumped, as it must be from the same
 *						snapshot; the transaction that runs it deletes it.
 *
 * Script files are temporary files of the server: it removes them itself when it starts
 * after a crash.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/file_perm.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/peer.h"
#include "base/run_program.h"
#include "catalog/names.h"
#include "control/join.h"
#include "control/restore_guard.h"
#include "control/sql.h"

#define SCRIPT_DIR	"base/" PG_TEMP_FILES_DIR

/* ---------- programs ---------- */

void
join_require_programs(int source_version_num)
{
	char	   *pg_dump = program_path("pg_dump");
	int			major = program_major_version(pg_dump);

	(void) program_path("psql");
	if (major < source_version_num / 10000)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("program \"%s\" is of version %d, too old for a source of version %d",
						pg_dump, major, source_version_num / 10000),
				 errhint("Upgrade this server, or copy the schema yourself and join with copy_schema => false.")));
}

/* What a program needs to connect beside the dsn without secrets. */
static const char *const *
connection_environment(const char *dsn)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	const char **environment = palloc0(4 * sizeof(char *));
	int			n = 0;
	bool		has_timeout = false;

	for (PQconninfoOption *o = options; o && o->keyword; o++)
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

/* Path of a script's file, relative to the data directory, which is where we and our children are. */
static char *
script_file(const char *section)
{
	if (mkdir(SCRIPT_DIR, pg_dir_create_mode) < 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", SCRIPT_DIR)));
	return psprintf("%s/%s_replication_plugin_%u_%s.sql", SCRIPT_DIR, PG_TEMP_FILE_PREFIX, MyDatabaseId, section);
}

/* Dumps one section of the source's schema in the snapshot. Returns the file. */
static char *
dump(Joining *join, const char *section)
{
	char	   *file = script_file(section);
	const char *argv[] = {
		program_path("pg_dump"), psprintf("--section=%s", section), "--no-publications",
		"--no-subscriptions", "--no-sync", "--exclude-schema=" EXTENSION_SCHEMA,
		psprintf("--snapshot=%s", join->snapshot),
		psprintf("--file=%s", file),
		psprintf("--dbname=%s", peer_dsn_for_program(join->local->source_dsn)),
		NULL
	};

	unlink(file);
	run_program(argv, connection_environment(join->local->source_dsn));
	return file;
}

/* Runs a script here, with a statement that notes it, in one transaction. */
static void
restore(Joining *join, const char *file, const char *note)
{
	const char *argv[] = {
		program_path("psql"), "--no-psqlrc", "--quiet", "--echo-errors", "--set=ON_ERROR_STOP=1",
		"--single-transaction", "--command", "SET " RESTORING_SCHEMA " = on", psprintf("--file=%s", file), "--command", note,
		psprintf("--dbname=%s", peer_dsn_for_program(join->local->dsn)),
		NULL
	};

	run_program(argv, connection_environment(join->local->dsn));
}

/* ---------- the second script, put away ---------- */

/* Reads a file as a bytea. */
static bytea *
read_file(const char *file)
{
	int			fd = OpenTransientFile(file, O_RDONLY | PG_BINARY);
	struct stat st;
	bytea	   *result;

	if (fd < 0 || fstat(fd, &st) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", file)));
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
				 errmsg("could not read file \"%s\": %m", file)));
	CloseTransientFile(fd);
	return result;
}

/* Writes a bytea into a file. */
static void
write_file(const char *file, bytea *content)
{
	int			fd = OpenTransientFile(file, O_CREAT | O_WRONLY | O_TRUNC | PG_BINARY);
	ssize_t		len = VARSIZE_ANY_EXHDR(content);

	if (fd < 0 || write(fd, VARDATA_ANY(content), len) != len || CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", file)));
}

/* Begins a transaction that may use SPI. */
static void
begin_spi(void)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

/* Ends it. */
static void
commit_spi(MemoryContext context)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* Stores the second script. */
static void
put_away(const char *file)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			type = BYTEAOID;
	Datum		script;

	begin_spi();
	script = PointerGetDatum(read_file(file));
	SPI_execute("DELETE FROM replication_plugin.join_script", false, 0);
	SPI_execute_with_args("INSERT INTO replication_plugin.join_script (script) VALUES ($1)",
						  1, &type, &script, NULL, false, 0);
	commit_spi(context);
}

/* Writes the stored script into a file. Returns false if there is none: it has been run. */
static bool
take_out(const char *file)
{
	MemoryContext context = CurrentMemoryContext;
	bool		found;
	bool		isnull;

	begin_spi();
	SPI_execute("SELECT script FROM replication_plugin.join_script", true, 0);
	found = SPI_processed > 0;
	if (found)
		write_file(file, DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
	commit_spi(context);
	return found;
}

/* ---------- steps ---------- */

void
join_copy_schema(Joining *join)
{
	char	   *tables;
	char	   *indexes;

	if (!join->local->copy_schema)
		return;
	join_progress("dumping the schema");
	tables = dump(join, "pre-data");
	indexes = dump(join, "post-data");
	put_away(indexes);
	unlink(indexes);
	if (!sql_value("SELECT 1 FROM replication_plugin.local_node WHERE schema_copied", 0, NULL))
	{
		join_progress("restoring tables and functions");
		restore(join, tables, "UPDATE replication_plugin.local_node SET schema_copied = true");
	}
	unlink(tables);
}

void
join_restore_indexes(Joining *join)
{
	char	   *file = script_file("post-data");

	if (!take_out(file))
		return;
	join_progress("building indexes and constraints");
	restore(join, file, "DELETE FROM replication_plugin.join_script");
	unlink(file);
}
