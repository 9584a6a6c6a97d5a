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
 * Scripts can have secrets in them: passwords of user mappings, and what is in the bodies of functions. So their files have no name from
 * the moment they are made: whatever ends this process, nothing is left of them. The session that runs them writes nothing down
 * (hide_secrets()), and of what fails people are told which object it is, and the error, but no text of the script.
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

/* A file without a name, on the file system of the database. */
static int
script_file(void)
{
	char	   *path = psprintf("%s/%s_replication_plugin_%u_%d", SCRIPT_DIR, PG_TEMP_FILE_PREFIX, MyDatabaseId, MyProcPid);
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
read_file(int fd)
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

/* Writes a file, to be read from its beginning. */
static void
write_file(int fd, bytea *content)
{
	ssize_t		len = VARSIZE_ANY_EXHDR(content);

	if (write(fd, VARDATA_ANY(content), len) != len || lseek(fd, 0, SEEK_SET) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write the schema's definition: %m")));
}

/* Dumps one section of the source's schema in the snapshot. Returns the script. */
static bytea *
dump(Joining *join, const char *section)
{
	const char *argv[] = {
		program_path("pg_dump"), psprintf("--section=%s", section), "--no-publications",
		"--no-subscriptions", "--exclude-schema=" EXTENSION_SCHEMA,
		psprintf("--snapshot=%s", join->snapshot),
		psprintf("--dbname=%s", peer_dsn_for_program(join->local->source_dsn)),
		NULL
	};
	MemoryContext context = CurrentMemoryContext;
	bytea	   *script;
	int			fd;

	StartTransactionCommand();	/* which closes the file in any case */
	fd = script_file();
	run_program(argv, connection_environment(join->local->source_dsn), -1, fd, NULL, NULL);
	MemoryContextSwitchTo(context);
	script = read_file(fd);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return script;
}

/* Appends which object the script makes in a line: pg_dump names it in a comment before it. */
static void
append_object(StringInfo buf, bytea *script, int line)
{
	const char *p = VARDATA_ANY(script);
	const char *end = p + VARSIZE_ANY_EXHDR(script);
	const char *name = NULL;

	for (int i = 1; p < end && i <= line; i++)
	{
		const char *next = memchr(p, '\n', end - p);

		if (end - p > 9 && strncmp(p, "-- Name: ", 9) == 0)
			name = p + 9;
		p = next ? next + 1 : end;
	}
	if (name)
		appendStringInfo(buf, " [%.*s]", (int) Min(200, (const char *) memchr(name, '\n', end - name) - name), name);
}

/* What is told of psql's messages: the errors with their details and hints, and of which object they are; nothing of the script's text. */
static char *
tell(const char *messages, void *script)
{
	StringInfoData buf;
	char	   *copy = pstrdup(messages);
	char	   *save = NULL;

	initStringInfo(&buf);
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
	{
		const char *error = strstr(line, ":  ");
		int			number = 0;

		if (strncmp(line, "psql:", 5) == 0 && strstr(line, ": ERROR:"))
		{
			(void) sscanf(line, "psql:<stdin>:%d:", &number);
			appendStringInfo(&buf, "%sERROR: %s", buf.len ? "\n" : "", error ? error + 3 : "");
			if (number > 0)
				append_object(&buf, script, number);
		}
		else if (strncmp(line, "psql:", 5) == 0 || strncmp(line, "DETAIL:", 7) == 0 || strncmp(line, "HINT:", 5) == 0)
			appendStringInfo(&buf, "%s%s", buf.len ? "\n" : "", line);
	}
	return buf.data;
}

/* Runs a script here, with a statement that notes it, in one transaction. */
static void
restore(Joining *join, bytea *script, const char *note)
{
	const char *argv[] = {
		program_path("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=SHOW_CONTEXT=never",
		"--single-transaction", "--command", "SELECT " EXTENSION_SCHEMA ".hide_secrets(false)",
		"--command", "SET " RESTORING_SCHEMA " = on", "--file=-", "--command", note,
		psprintf("--dbname=%s", peer_dsn_for_program(join->local->dsn)),
		NULL
	};
	MemoryContext context = CurrentMemoryContext;
	int			fd;

	StartTransactionCommand();	/* which closes the file in any case */
	fd = script_file();
	write_file(fd, script);
	run_program(argv, connection_environment(join->local->dsn), fd, -1, tell, script);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* ---------- the second script, put away ---------- */

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
put_away(bytea *text)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			type = BYTEAOID;
	Datum		script = PointerGetDatum(text);

	begin_spi();
	SPI_execute("DELETE FROM replication_plugin.join_script", false, 0);
	SPI_execute_with_args("INSERT INTO replication_plugin.join_script (script) VALUES ($1)",
						  1, &type, &script, NULL, false, 0);
	commit_spi(context);
}

/* Reads the stored script. NULL if there is none: it has been run. */
static bytea *
take_out(void)
{
	MemoryContext context = CurrentMemoryContext;
	bytea	   *script = NULL;
	bool		isnull;

	begin_spi();
	SPI_execute("SELECT script FROM replication_plugin.join_script", true, 0);
	if (SPI_processed > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		script = DatumGetByteaPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContextSwitchTo(old);
	}
	commit_spi(context);
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
	tables = dump(join, "pre-data");
	put_away(dump(join, "post-data"));
	if (sql_value("SELECT 1 FROM replication_plugin.local_node WHERE schema_copied", 0, NULL))
		return;
	join_progress("restoring tables and functions");
	restore(join, tables, "UPDATE replication_plugin.local_node SET schema_copied = true");
}

void
join_restore_indexes(Joining *join)
{
	bytea	   *script = take_out();

	if (!script)
		return;
	join_progress("building indexes and constraints");
	restore(join, script, "DELETE FROM replication_plugin.join_script");
}
