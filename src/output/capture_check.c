/*
 * capture_check.c
 *		Detects changes that capture did not see.
 *
 * Capture triggers report what they have captured (wire/note.h, and the messages of writes to
 * mergeable tables), and decoding sees what was changed. If a local transaction has changed more
 * than was captured, something has written to the table without firing the triggers. Such writes to
 * a mergeable table reach no other node. Such deletes from a plain table do, but leave no
 * tombstone, so an older write that arrives recreates the row, on this node only. Neither can be
 * repaired from the WAL alone. The table is therefore marked out of step, by a row that all nodes
 * get, and the stream continues. resend_table() ends that state.
 *
 * A walsender cannot write while it decodes, so another session of this server writes the mark,
 * before the commit of the transaction is sent. A crash therefore loses no finding. The key of the
 * mark is the position of the transaction, so if several walsenders find the same, or one finds it
 * again, the table is marked only once.
 */
#include "postgres.h"

#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/peer.h"
#include "catalog/names.h"
#include "output/capture_check.h"
#include "shared/manager_status.h"
#include "shared/origin_map.h"
#include "wire/note.h"

static const char note_out_of_step_sql[] =
	"SELECT replication_plugin.note_out_of_step($1, $2, $3, $4, $5)";

void
capture_check_begin(NativeStream *s)
{
	SentRelation *next;

	for (SentRelation *e = s->touched; e; e = next)
	{
		next = e->next_touched;
		e->touched = false;
		e->next_touched = NULL;
		e->uncaptured = e->truncates = 0;
	}
	s->touched = NULL;
}

/* Adds a table to those that are checked at the end of the transaction. */
static void
capture_check_touch(NativeStream *s, SentRelation *e)
{
	if (e->touched)
		return;
	e->touched = true;
	e->next_touched = s->touched;
	s->touched = e;
}

/*
 * Returns true if changes of a table in the current transaction must be captured. Transactions of
 * other nodes have been checked there.
 */
static inline bool
is_checked(const NativeStream *s, const SentRelation *e)
{
	return s->origin == ORIGIN_NODE_LOCAL && !e->own && e->identity == WIRE_IDENTITY_KEY;
}

void
capture_check_count(NativeStream *s, SentRelation *e, int64 n)
{
	if (!is_checked(s, e))
		return;
	capture_check_touch(s, e);
	e->uncaptured += n;
}

void
capture_check_truncate(NativeStream *s, SentRelation *e, Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		(e->kind != SENT_ROWS && e->kind != SENT_WRITES) || !is_checked(s, e))
		return;
	capture_check_touch(s, e);
	e->truncates++;
}

bool
capture_check_note(NativeStream *s, const char *content, Size size)
{
	List	   *notes;
	ListCell   *lc;

	if (size == 0 || content[0] != NOTE_OF_CAPTURE)
		return false;
	if (s->origin != ORIGIN_NODE_LOCAL)
		return true;
	notes = note_read(content, size);
	foreach(lc, notes)
	{
		CaptureNote *n = lfirst(lc);
		SentRelation *e = sent_relation_known(s->relations, n->relid);

		/* the note comes first for a TRUNCATE, and for a table without other changes */
		if (!e)
			e = sent_relation_by_oid(s->relations, n->relid);
		if (!e)
			continue;
		capture_check_touch(s, e);
		e->uncaptured -= n->changes;
		e->truncates -= n->truncates;
	}
	list_free_deep(notes);
	return true;
}

/*
 * Runs a function of the extension in another session of this server. Returns true if the function
 * does.
 */
static bool
run_elsewhere(NativeStream *s, const char *sql, int n, const char *const *params)
{
	PGconn	   *conn = peer_connect(s->dsn, PEER_SQL, "replication_plugin check");
	volatile bool result = false;

	PG_TRY();
	{
		PGresult   *res = peer_exec_params(conn, sql, n, params);

		result = PQntuples(res) == 1 && strcmp(PQgetvalue(res, 0, 0), "t") == 0;
		PQclear(res);
	}
	PG_FINALLY();
	{
		PQfinish(conn);
	}
	PG_END_TRY();
	return result;
}

/* Marks a table out of step, and raises a warning unless it was marked already. */
static void
capture_check_mark(NativeStream *s, const SentRelation *e, const ReorderBufferTXN *txn)
{
	Relation	root = RelationIdGetRelation(e->root);
	const char *params[5];

	if (!root)
		return;					/* dropped in the same transaction */
	params[0] = psprintf(INT64_FORMAT, (int64) instance_token());
	params[1] = get_namespace_name(RelationGetNamespace(root));
	params[2] = pstrdup(RelationGetRelationName(root));
	params[3] = psprintf("%X/%X", LSN_FORMAT_ARGS(txn->end_lsn));
	params[4] =
		psprintf(e->truncates > 0 ? "a TRUNCATE in transaction %u" : "changes in transaction %u",
				 txn->xid);
	RelationClose(root);
	if (run_elsewhere(s, note_out_of_step_sql, lengthof(params), params))
		ereport(WARNING,
				(errmsg("%s got past the triggers of table \"%s.%s\", so other nodes may lack them", params[4], params[1], params[2]),
				 errhint("SELECT replication_plugin.resend_table(...) on the node whose rows are right gives them to all others.")));
}

void
capture_check_commit(NativeStream *s, ReorderBufferTXN *txn)
{
	for (SentRelation *e = s->touched; e; e = e->next_touched)
	{
		/*
		 * WAL of an earlier version of the extension has no notes; it ends where the extension was
		 * updated
		 */
		if ((e->uncaptured > 0 || e->truncates > 0) &&
			OidIsValid(extension_relation_oid(TABLE_OUT_OF_STEP)))
			capture_check_mark(s, e, txn);
	}
}
