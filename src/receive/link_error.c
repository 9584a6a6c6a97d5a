/*
 * link_error.c
 *		Texts for errors on a link: what happened, where, and how to solve it.
 *
 * The hint is the first of these that exists: the error's own hint, advice about the code that ran,
 * or advice by SQLSTATE. Then the text says that the link retries by itself and, as the last
 * resort, names skip_transaction(). The whole text must fit into LINK_ERROR_SIZE, so long parts are
 * cut.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#include "apply/apply.h"
#include "base/cut_text.h"
#include "base/own_transaction.h"
#include "base/peer.h"
#include "base/settings.h"
#include "receive/link_error.h"

#define MOST_MESSAGE	600		/* bytes of the message, of the detail and of the hint */
#define MOST_WHERE		300		/* bytes of the context and of the row */

static const char transaction_at_hand_sql[] =
	"SELECT lsn FROM replication_plugin.transaction_at_hand() WHERE lsn IS NOT NULL";

/* ---------- remedies ---------- */

/* The remedy for a kind of error that has no hint of its own. */
typedef struct Kind
{
	int			sqlstate;		/* a code, or the category of a class */
	const char *remedy;
} Kind;

#define FITS	"Let the table take here what it takes on the other nodes: the same types and constraints (ALTER TABLE)."
#define SPACE	"Make room on this server."

static const Kind kinds[] = {
	{ERRCODE_DISK_FULL, SPACE},
	{ERRCODE_OUT_OF_MEMORY, "Give this server more memory, or lower what its sessions use."},
	{ERRCODE_PROGRAM_LIMIT_EXCEEDED, "A value, row or index entry is larger than PostgreSQL can take here: drop the index, or the constraint or trigger that makes it so, or widen the column."},
	{ERRCODE_INVALID_TEXT_REPRESENTATION, "The types of the column differ between the nodes: give an enum, domain or type the same definition here (ALTER TYPE ... ADD VALUE)."},
	{ERRCODE_INVALID_BINARY_REPRESENTATION, "The types of the column differ between the nodes: give the type the same definition here."},
	{ERRCODE_UNIQUE_VIOLATION, "Change or delete the row in the way (view conflicts, resolution 'stop'), or drop the constraint; with a primary key on all nodes the newer row would be shown, and the other parked."},
	{ERRCODE_EXCLUSION_VIOLATION, "Change or delete the row in the way (view conflicts, resolution 'stop'), or drop the constraint; with a primary key on all nodes the newer row would be shown, and the other parked."},
	{ERRCODE_FOREIGN_KEY_VIOLATION, "Insert the row that is referred to here, or drop the foreign key here."},
	{ERRCODE_INSUFFICIENT_PRIVILEGE, "The owner of the table here lacks a right that its triggers, functions or partitions need: GRANT it."},
	{ERRCODE_UNDEFINED_FUNCTION, "Create the function here as it is on the other nodes."},
	{ERRCODE_UNDEFINED_TABLE, "Create the table here as it is on the other nodes."},
	{ERRCODE_WRONG_OBJECT_TYPE, "Rename or drop what has the table's name here, and create the table as it is on the other nodes."},
	{ERRCODE_UNDEFINED_OBJECT, "Create the object here as it is on the other nodes."},
	{ERRCODE_FEATURE_NOT_SUPPORTED, NULL},
};

static const Kind classes[] = {
	{ERRCODE_DATA_EXCEPTION, FITS},
	{ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION, FITS},
	{ERRCODE_INSUFFICIENT_RESOURCES, SPACE},
	{ERRCODE_DATA_CORRUPTED, "Something is damaged on this server: see its log; REINDEX the table, or restore the server."},
	{ERRCODE_IO_ERROR, "Something is wrong with this server's disk or files: see its log."},
};

/* Returns the remedy for a SQLSTATE, or NULL if none is known. */
static const char *
remedy_for_sqlstate(int sqlstate)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].sqlstate == sqlstate)
			return kinds[i].remedy;
	}
	for (int i = 0; i < lengthof(classes); i++)
	{
		if (ERRCODE_TO_CATEGORY(classes[i].sqlstate) == ERRCODE_TO_CATEGORY(sqlstate))
			return classes[i].remedy;
	}
	return NULL;
}

/*
 * Returns the context of an error without its last line, which is the link worker's own, or NULL if
 * nothing is left. The result tells which code ran when the error was raised.
 */
static char *
what_ran(const ErrorData *edata)
{
	char	   *end = edata->context ? strrchr(edata->context, '\n') : NULL;

	return end ? pnstrdup(edata->context, end - edata->context) : NULL;
}

/* Returns the remedy that fits the error best, or NULL. */
static const char *
link_error_remedy(const ErrorData *edata, const char *ran)
{
	const char *result = edata->hint;

	if (!result && ran)
		result = "A function that comes with the table (trigger, default, constraint, index expression) fails here: mend it, or drop or disable what calls it.";
	return result ? result : remedy_for_sqlstate(edata->sqlerrcode);
}

/* ---------- texts ---------- */

/* Appends a text as one line, cut to a number of bytes. Appends nothing if the text is empty. */
static void
append_cut(StringInfo buf, const char *before, const char *text, int most)
{
	if (!text || !text[0])
		return;
	appendStringInfoString(buf, before);
	for (const char *c = cut_text(text, most); *c; c++)
		appendStringInfoChar(buf, *c == '\n' ? ' ' : *c);
}

/* Appends the call of skip_transaction() for the transaction. */
static void
append_last_resort(StringInfo buf, Link *link, XLogRecPtr lsn)
{
	appendStringInfo(buf, "The link tries again by itself. As a last resort: SELECT replication_plugin.skip_transaction(%s, '%X/%X')",
					 quote_literal_cstr(link->provider_name), LSN_FORMAT_ARGS(lsn));
}

/*
 * Returns a description of the row that failed, palloc'd, or NULL if there is none. Runs in a
 * transaction of its own.
 */
static char *
failed_row(Link *link)
{
	OwnTransaction t = own_transaction_begin();
	char	   *row = apply_failed_row(link->apply);

	row = row ? MemoryContextStrdup(t.context, row) : NULL;
	own_transaction_end(&t);
	return row;
}

char *
link_error_text(Link *link, const ErrorData *edata, const WireBegin *transaction)
{
	StringInfoData buf;
	char	   *ran = what_ran(edata);
	const char *right = link_error_remedy(edata, ran);

	initStringInfo(&buf);
	append_cut(&buf, "", edata->message, MOST_MESSAGE);
	append_cut(&buf, " DETAIL: ", edata->detail, MOST_MESSAGE);
	append_cut(&buf, " IN: ", ran, MOST_WHERE);
	appendStringInfoString(&buf, " CONTEXT: ");
	append_cut(&buf, "", failed_row(link), MOST_WHERE);
	appendStringInfo(&buf, "%stransaction %X/%X of node %d HINT: ",
					 buf.data[buf.len - 1] == ' ' ? "" : ", ",
					 LSN_FORMAT_ARGS(transaction->origin_lsn), transaction->origin);
	append_cut(&buf, "", right, MOST_MESSAGE);
	if (right)
		appendStringInfoChar(&buf, ' ');
	append_last_resort(&buf, link, transaction->origin_lsn);
	return buf.data;
}

void
link_error_explain_limit(ErrorData *edata)
{
	edata->message = psprintf("a row took longer than replication_plugin.row_timeout (%d ms)", setting_row_timeout);
	edata->detail = NULL;
	edata->hint = pstrdup("Triggers, defaults, constraints, index expressions and types of the table run for each row:"
						  " see what makes them slow here, or raise the setting.");
}

/* ---------- the provider's errors ---------- */

/* Returns a field of an error as a palloc'd copy, or NULL if it has none. */
static char *
link_error_field(PGresult *res, int code)
{
	const char *text = res ? PQresultErrorField(res, code) : NULL;

	return text ? pstrdup(text) : NULL;
}

/*
 * Asks the provider which transaction it was about to send. Returns false if there was none, or if
 * the provider cannot be asked.
 */
static bool
transaction_at_hand(Link *link, XLogRecPtr *lsn)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool found = false;

	PG_TRY();
	{
		PGresult   *res;

		PQsetnonblocking(link->conn, 0);
		res = peer_exec(link->conn, transaction_at_hand_sql);
		found = PQntuples(res) == 1;
		if (found)
			*lsn =
				DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(PQgetvalue(res, 0, 0))));
		PQclear(res);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return found;
}

void
link_error_of_provider(Link *link, PGresult *res)
{
	char	   *sqlstate = link_error_field(res, PG_DIAG_SQLSTATE);
	char	   *message = link_error_field(res, PG_DIAG_MESSAGE_PRIMARY);
	StringInfoData detail,
				hint;
	PGresult   *more;
	XLogRecPtr	lsn;

	initStringInfo(&detail);
	initStringInfo(&hint);
	append_cut(&detail, "", link_error_field(res, PG_DIAG_MESSAGE_DETAIL), MOST_MESSAGE);
	append_cut(&detail, detail.len ? " THERE: " : "THERE: ", link_error_field(res, PG_DIAG_CONTEXT),
			   MOST_MESSAGE);
	append_cut(&hint, "", link_error_field(res, PG_DIAG_MESSAGE_HINT), MOST_MESSAGE);
	if (!message)
		message = pchomp(PQerrorMessage(link->conn));
	PQclear(res);
	while ((more = PQgetResult(link->conn)) != NULL)
		PQclear(more);
	if (sqlstate && strlen(sqlstate) == 5 && PQstatus(link->conn) == CONNECTION_OK &&
		transaction_at_hand(link, &lsn))
	{
		if (hint.len > 0)
			appendStringInfoChar(&hint, ' ');
		appendStringInfo(&hint,
						 "See the log of node \"%s\": what is wrong there must be mended there. ",
						 link->provider_name);
		append_last_resort(&hint, link, lsn);
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4])),
				 errmsg("node \"%s\" cannot send its transaction %X/%X: %s", link->provider_name, LSN_FORMAT_ARGS(lsn), message),
				 detail.len ? errdetail_internal("%s", detail.data) : 0, errhint("%s", hint.data)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("node \"%s\" has ended the stream%s%s", link->provider_name, message[0] ? ": " : "", message),
			 detail.len ? errdetail_internal("%s", detail.data) : 0, hint.len ? errhint("%s", hint.data) : 0));
}
