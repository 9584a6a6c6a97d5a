/*
 * script.c
 *		Runs a script of pg_dump in this database, in a worker.
 *
 * A dump of a schema has only SQL statements and comments. Newer versions of pg_dump enclose it in
 * two psql commands, \restrict and \unrestrict with a key, which are left out. Statements run one
 * after the other as the worker's user; the dump gives objects to their owners, and changes the
 * user where it must (SET SESSION AUTHORIZATION).
 *
 * A script can contain secrets: passwords of user mappings, and those in bodies of functions.
 * Therefore the statements are not logged or shown (session_hide()). The error of a failing
 * statement names the object, but has no text of the statement.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/own_transaction.h"
#include "base/session.h"
#include "control/join/restore_guard.h"
#include "control/join/script.h"
#include "control/workers/sql.h"

/* Returns the first line at or after p that is neither empty nor a comment. */
static char *
first_line_of_content(char *p)
{
	while (*p == '\n' || strncmp(p, "--", 2) == 0)
	{
		char	   *end = strchr(p, '\n');

		p = end ? end + 1 : p + strlen(p);
	}
	return p;
}

/* Overwrites a line with spaces if it is the psql command with that key. */
static void
blank_out(char *line, const char *command, const char *key, int key_len)
{
	int			len = strlen(command);

	if (strncmp(line, command, len) != 0 || strncmp(line + len, key, key_len) != 0 ||
		(line[len + key_len] != '\n' && line[len + key_len] != '\0'))
		return;
	memset(line, ' ', len + key_len);
}

/* Blanks out the psql commands that enclose a dump. */
static void
leave_out_restrictions(char *script)
{
	static const char begin[] = "\\restrict ";
	char	   *first = first_line_of_content(script);
	char	   *last = NULL;
	char	   *key;
	int			len;

	if (strncmp(first, begin, strlen(begin)) != 0)
		return;
	key = pnstrdup(first + strlen(begin), strcspn(first + strlen(begin), "\n"));
	len = strlen(key);
	blank_out(first, begin, key, len);
	for (char *p = strstr(first, "\n\\unrestrict "); p; p = strstr(p + 1, "\n\\unrestrict "))
		last = p + 1;
	if (last)
		blank_out(last, "\\unrestrict ", key, len);
}

/*
 * Makes RESET SESSION AUTHORIZATION return this process to its user, which it does not do in a
 * worker.
 */
static void
set_session_user(void)
{
	SetConfigOption("session_authorization", GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false),
					PGC_SUSET, PGC_S_OVERRIDE);
}

/* Runs one statement. */
static void
run_statement(const char *sql)
{
	int			result;

	CHECK_FOR_INTERRUPTS();
	result = SPI_execute(sql, false, 0);
	if (result < 0)
		elog(ERROR, "statement failed (%s): %s", SPI_result_code_string(result), sql);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Returns the object that a statement creates which ends at a place of the script. pg_dump names it
 * in a comment before the statement.
 */
static char *
object_at(const char *script, const char *end)
{
	static const char begin[] = "\n-- Name: ";
	const char *name = NULL;

	for (const char *p = strstr(script, begin); p && p < end; p = strstr(p + 1, begin))
		name = p + strlen(begin);
	return name ? pnstrdup(name, Min(200, strcspn(name, "\n"))) : pstrdup("settings");
}

/* Raises the error of a statement, without the text of the statement. */
static void
raise_error(const char *object)
{
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	error->message = psprintf("the schema of the source cannot be restored here: %s [%s]", error->message, object);
	error->context = NULL;
	error->internalquery = NULL;
	error->internalpos = error->cursorpos = 0;
	ReThrowError(error);
}

/* Runs the statement in the script from begin to end. Allocates in the given context. */
static void
run_part(const char *script, const char *begin, const char *end, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	PG_TRY();
	{
		run_statement(pnstrdup(begin, end - begin));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		raise_error(object_at(script, end));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* Runs all statements of a script. */
static void
run_statements(const char *script)
{
	List	   *statements = pg_parse_query(script);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "statement", ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;

	foreach(lc, statements)
	{
		RawStmt    *s = lfirst_node(RawStmt, lc);
		const char *begin = script + s->stmt_location;

		run_part(script, begin, begin + (s->stmt_len ? s->stmt_len : strlen(begin)), context);
		MemoryContextReset(context);
	}
}

void
script_run(const char *script, const char *note)
{
	OwnTransaction t;
	char	   *copy = pstrdup(script);
	int			nest;

	pg_verifymbstr(copy, strlen(copy), false);
	leave_out_restrictions(copy);
	t = sql_transaction_begin();
	set_session_user();
	nest = NewGUCNestLevel();
	session_hide(true);
	SPI_connect();
	(void) set_config_option(RESTORING_SCHEMA, "on", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	run_statements(copy);
	AtEOXact_GUC(false, nest);
	run_statement(note);
	SPI_finish();
	own_transaction_end(&t);
	pfree(copy);
}
